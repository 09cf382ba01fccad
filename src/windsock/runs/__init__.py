"""Runs and their task runs."""
