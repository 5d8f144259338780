"""The database of a migration: the ledger's place in it, and what else is there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from onward.storage.base import StorageError
from onward.storage.place import Place

FIRST = ("commits", "counts", "idempotency", "jobs", "marks", "meta", "runners")  # of every ledger there ever was
SIGNATURE = {"params_version", "charged", "deaths", "token", "changed"}  # some columns of its `jobs`
LEDGER_REVISIONS, PROJECT_REVISIONS = REVISIONS = ("alembic_version", "alembic_version_project")


class Site:
    """A connection in a migration's transaction. A schema of None is SQLite's only one."""

    def __init__(self, bound: sa.Connection, place: Place) -> None:
        self.bound = bound
        self.place = place
        self.schema = None if place.prefix else place.schema
        # By their order in the search path, which the statements of an older release, and the project's, depend on.
        found = [None] if place.prefix else bound.exec_driver_sql("SELECT current_schemas(false)").scalar_one()
        self.others: list[str | None] = [schema for schema in found if schema is None or schema != place.schema]

    def run(self, sql: str, **params: Any) -> Any:
        """Run a statement, in which `_ledger.` stands for the ledger's place."""
        named = self.place.named(sql)
        return self.bound.execute(sa.text(named), params) if params else self.bound.exec_driver_sql(named)

    def quoted(self, name: str) -> str:
        """The name as SQL has it."""
        return str(self.bound.dialect.identifier_preparer.quote(name))

    def table(self, name: str, schema: str | None) -> str:
        """The name of a table as SQL has it."""
        return self.quoted(name) if schema is None else f"{self.quoted(schema)}.{self.quoted(name)}"

    def tables(self, schema: str | None) -> set[str]:
        """The names of the tables in a schema, without its views."""
        return set(sa.inspect(self.bound).get_table_names(schema))

    def taken(self, names: Collection[str], schema: str | None) -> list[str]:
        """Return those names that a table or a view in the schema has."""
        return sorted((self.tables(schema) | set(sa.inspect(self.bound).get_view_names(schema))) & set(names))

    def holds_ledger(self, schema: str | None, prefix: str) -> bool:
        """Return whether the tables are a ledger's, and not only of the same names."""
        if not self.tables(schema) >= {f"{prefix}{name}" for name in (*FIRST, LEDGER_REVISIONS)}:
            return False
        return {one["name"] for one in sa.inspect(self.bound).get_columns(f"{prefix}jobs", schema)} >= SIGNATURE

    def revision(self, table: str, schema: str | None) -> str | None:
        """The revision in a table of Alembic's; None if there is no such table, or nothing in it."""
        if table not in self.tables(schema):
            return None
        found: str | None = self.run(f"SELECT version_num FROM {self.table(table, schema)}").scalar()  # noqa: S608 - quoted
        return found

    def own_revision(self, table: str) -> str | None:
        """The revision of a series of migrations, in the ledger's place."""
        return self.revision(f"{self.place.prefix}{table}", self.schema)

    def create_schema(self) -> None:
        """Make the ledger's schema, if it is not there. Raises StorageError where this user may not."""
        if words := self.obstacle():
            raise StorageError(words)
        if self.schema is not None and not self._has_schema():
            self.run(f"CREATE SCHEMA {self.quoted(self.schema)}")

    def obstacle(self) -> str | None:
        """Return which right this user needs for the place, and how to grant it; None if none is missing."""
        if self.schema is None:
            return None
        user, database = map(self.quoted, self.run("SELECT current_user, current_database()").one())
        schema = self.quoted(self.schema)
        if self._has_schema():
            rights = "SELECT has_schema_privilege(:schema, 'CREATE') AND has_schema_privilege(:schema, 'USAGE')"
            if self.run(rights, schema=self.schema).scalar():
                return None
            return (
                f"{user} may not make tables in the schema {schema}: GRANT CREATE, USAGE ON SCHEMA {schema} TO {user};"
            )
        if self.run("SELECT has_database_privilege(current_database(), 'CREATE')").scalar():
            return None
        words = f"{user} may not make the schema {schema} in the database {database}"
        return (
            f"{words}: CREATE SCHEMA {schema} AUTHORIZATION {user}; or GRANT CREATE ON DATABASE {database} TO {user};"
        )

    def _has_schema(self) -> bool:
        return self.run("SELECT 1 FROM pg_namespace WHERE nspname = :schema", schema=self.schema).scalar() is not None

    def set_search_path(self, *, own: bool) -> None:
        """Let names without a schema mean the ledger's place, or everything but it where there is anything else."""
        if self.schema is None:
            return
        path = [self.schema] if own else [*filter(None, self.others), self.schema]
        self.run(f"SET LOCAL search_path TO {', '.join(map(self.quoted, path))}")
        self.bound.dialect.default_schema_name = path[0]  # SQLAlchemy asks once, and its inspector goes by it
