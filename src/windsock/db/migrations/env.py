"""Alembic's entry: one transaction for all revisions, on the connection the runner gives."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema="windsock", transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
