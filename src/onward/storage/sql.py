"""SQL expressions that several files use; most are written differently by SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement


class in_array(ColumnElement[bool]):  # noqa: N801 - reads as SQL does
    """A condition: the column is one of the texts in the parameter `name`, made by `as_list`.

    One parameter, so that a statement is compiled once for any length.
    """

    inherit_cache = False
    type: Any = sa.types.NULLTYPE  # as Boolean SQLite would get ` = 1` behind it, and use no partial index

    def __init__(self, column: ColumnElement[str], name: str) -> None:
        self.column = column
        self.bind = sa.bindparam(name, type_=sa.Text)


@compiles(in_array, "sqlite")
def _in_array_sqlite(element: in_array, compiler: Any, **kw: Any) -> str:
    column, bind = compiler.process(element.column, **kw), compiler.process(element.bind, **kw)
    return f"({column} IN (SELECT value FROM json_each({bind})))"  # noqa: S608 - a bound parameter


@compiles(in_array, "postgresql")
def _in_array_postgresql(element: in_array, compiler: Any, **kw: Any) -> str:
    column, bind = compiler.process(element.column, **kw), compiler.process(element.bind, **kw)
    # An array is made once, and looked up in the column's index. A subselect may be run again for each row that another
    # index finds.
    return f"({column} = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST({bind} AS JSONB)))))"


class row_as_json(ColumnElement[Any]):  # noqa: N801 - likewise
    """The columns of a row; on SQLite in one JSON array, which `row_values` reads.

    SQLite's driver releases the interpreter's lock for each column that it reads.
    """

    inherit_cache = False

    def __init__(self, *columns: ColumnElement[Any]) -> None:
        self.columns = columns


@compiles(row_as_json)
def _row_as_json(element: row_as_json, compiler: Any, **kw: Any) -> str:
    cells = ", ".join(compiler.process(column, **kw) for column in element.columns)
    return f"json_array({cells})" if compiler.dialect.name == "sqlite" else cells


def row_values(row: Sequence[Any]) -> Sequence[Any]:
    """Return the values of a row that `row_as_json` has selected alone."""
    return orjson.loads(row[0]) if len(row) == 1 else row


class insert_new(sa.Insert):  # noqa: N801 - likewise: `insert_new(users)`
    """Return an insert that does nothing where a row with the same key exists, without loading both dialects."""

    inherit_cache = True


@compiles(insert_new)
def _insert_new(element: insert_new, compiler: Any, **kw: Any) -> str:
    return f"{compiler.visit_insert(element, **kw)} ON CONFLICT DO NOTHING"


class per_dialect(ColumnElement[bool]):  # noqa: N801 - likewise
    """Return a condition in the words of each dialect."""

    inherit_cache = False
    type: Any = sa.types.NULLTYPE  # as above

    def __init__(self, sqlite: str, postgresql: str) -> None:
        self.sqlite = sa.text(sqlite)
        self.postgresql = sa.text(postgresql)


@compiles(per_dialect, "sqlite")
def _per_dialect_sqlite(element: per_dialect, _compiler: Any, **_kw: Any) -> str:
    return f"({element.sqlite.text})"


@compiles(per_dialect, "postgresql")
def _per_dialect_postgresql(element: per_dialect, _compiler: Any, **_kw: Any) -> str:
    return f"({element.postgresql.text})"


def from_on(column: ColumnElement[int], name: str) -> ColumnElement[bool]:
    """Return a condition: the column is the parameter `name` or more.

    PostgreSQL takes an open range for a third of the table where it has no statistics, and reads all of it.
    """
    return column.between(sa.bindparam(name), sa.literal_column(str(2**63 - 1)))


def as_list(values: Collection[str]) -> str:
    """Encode the parameter that `in_array` reads."""
    return json.dumps(list(values))


def one_of(column: ColumnElement[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """Return a condition on a fixed set of texts, which are part of the statement."""
    return column.in_([sa.literal_column(f"'{value}'") for value in sorted(values)])
