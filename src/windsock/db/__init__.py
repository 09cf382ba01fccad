"""PostgreSQL: connection pool and transactions, queries from .sql files, classification of errors."""
