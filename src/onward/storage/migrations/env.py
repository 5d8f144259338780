"""Alembic's way in: on the connection and in the transaction that `storage.migrate` made."""

from alembic import context

from onward.storage.indexes import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
