"""Comments on runs and task runs."""
