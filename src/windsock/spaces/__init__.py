"""Spaces, their members and teams; users and their API keys."""
