"""Alembic's way in: on the connection and in the transaction that `onward.storage.migrate` made."""

from alembic import context

from onward.storage.indexes import metadata

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table=attributes["version_table"],
    version_table_schema=attributes["version_table_schema"],
    prefix=attributes["prefix"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
