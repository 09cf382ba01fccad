"""Starts a run of a pipeline in its provider, at most once per request."""
