"""Alembic's entry: runs on the connection and in the transaction that `onward.storage.migrate` made."""

from alembic import context

from onward.storage.indexes import metadata

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table=attributes["version_table"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
