"""What Alembic runs for each of its commands: our connection, and the version table in the service's own schema.

Loaded by path from `connector.database.migrations`, which puts the connection and the schema into the attributes.
"""
# ruff: noqa: INP001 -- Alembic loads this file by path; it is no module to import

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table_schema=attributes["schema"],
    transaction_per_migration=False,  # a failing revision leaves the schema as it was before the whole upgrade
)
with context.begin_transaction():
    context.run_migrations()
