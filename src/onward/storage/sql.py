"""SQL expressions that SQLite and PostgreSQL write differently."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement


class json_array(ColumnElement[Any]):  # noqa: N801 - reads as SQL does
    """Return the texts of a JSON array that is one parameter, so that a statement is compiled once for any length."""

    inherit_cache = True

    def __init__(self, name: str) -> None:
        self.bind = sa.bindparam(name, type_=sa.Text)


@compiles(json_array, "sqlite")
def _json_array_sqlite(element: json_array, compiler: Any, **kw: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.bind, **kw)}))"  # noqa: S608 - a bound parameter


@compiles(json_array, "postgresql")
def _json_array_postgresql(element: json_array, compiler: Any, **kw: Any) -> str:
    return f"(SELECT jsonb_array_elements_text(CAST({compiler.process(element.bind, **kw)} AS JSONB)))"


class insert_new(sa.Insert):  # noqa: N801 - likewise: `insert_new(users)`
    """Return an insert that does nothing where a row with the same key exists, without loading both dialects."""

    inherit_cache = True


@compiles(insert_new)
def _insert_new(element: insert_new, compiler: Any, **kw: Any) -> str:
    return f"{compiler.visit_insert(element, **kw)} ON CONFLICT DO NOTHING"


def in_array(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return a condition: the column is one of the texts in the parameter `name`, made by `as_list`."""
    return column.op("IN", is_comparison=True, return_type=sa.Boolean())(json_array(name))


def as_list(values: Collection[str]) -> str:
    """Encode the parameter that `in_array` reads."""
    return json.dumps(list(values))
