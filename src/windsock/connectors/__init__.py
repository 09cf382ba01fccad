"""Connectors: which other systems a space has, how to sign in there, and whether that works."""
