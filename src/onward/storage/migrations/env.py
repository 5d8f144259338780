"""Alembic's way in: on the connection and in the transaction that `onward.storage.migrate` made."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table=attributes["version_table"],
    version_table_schema=attributes["version_table_schema"],
    prefix=attributes["prefix"],
    transactional_ddl=False,
)
context.run_migrations()
