"""Authentication and permissions: API keys, sessions, callers, roles."""
