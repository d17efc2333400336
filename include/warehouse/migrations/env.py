"""Alembic runs the revisions on the connection that `include.warehouse.migrate` opened and locked."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="schema_revision")
with context.begin_transaction():
    context.run_migrations()
