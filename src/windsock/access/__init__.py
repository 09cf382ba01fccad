"""Who is calling, and what may they do here: callers and keys, spaces, roles, members."""
