"""The commands of the operator of the machine; they work on the database, beside a running server or without one."""
