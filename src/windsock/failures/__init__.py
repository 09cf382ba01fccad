"""Logs of tasks, excerpts of their errors, and fingerprints that group failures."""
