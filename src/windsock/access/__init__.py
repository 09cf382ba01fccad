"""Callers, API keys, sessions, spaces, roles and members."""
