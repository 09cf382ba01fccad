"""One connector's sync from start to finish, the jobs that start it, and what people see of it."""
