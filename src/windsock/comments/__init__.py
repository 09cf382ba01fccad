"""What people say about runs and task runs."""
