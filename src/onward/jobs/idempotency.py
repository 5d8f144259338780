"""Idempotency keys: they belong to a viewer and a mutation, and cover its whole input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from onward.jobs.base import KeyReused
from onward.storage.sql import insert_new
from onward.storage.tables import idempotency as table
from onward.storage.transaction import Tx

_p = sa.bindparam
_find = sa.select(table.c.fingerprint, table.c.reference).where(
    table.c.viewer == _p("viewer_"), table.c.mutation == _p("mutation_"), table.c.key == _p("key_")
)
_take = insert_new(table)
_fill = (
    sa.update(table)
    .where(table.c.viewer == _p("viewer_"), table.c.mutation == _p("mutation_"), table.c.key == _p("key_"))
    .where(table.c.fingerprint == _p("fingerprint_"))
    .values(reference=_p("reference_"))
)
_key = sa.tuple_(table.c.viewer, table.c.mutation, table.c.key)
_old = (
    sa.select(table.c.viewer, table.c.mutation, table.c.key)
    .where(table.c.created_at < _p("before_"))
    .order_by(table.c.created_at)
    .limit(_p("limit_", type_=sa.Integer))
)
_prune = sa.delete(table).where(_key.in_(_old))


def fingerprint(input: Mapping[str, Any]) -> str:
    """A digest of the whole input, the same for the same values."""
    text = json.dumps(input, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def replay(tx: Tx, *, viewer: str, mutation: str, key: str, fingerprint: str) -> dict[str, Any] | None:
    """What the key stood for before; None where it is new. Raises KeyReused where it stood for another input.

    Where it is new it is taken: another process with the same key waits for this unit's commit.
    """
    names = {"viewer_": viewer, "mutation_": mutation, "key_": key}
    row = tx.one(_find, **names)
    if row is None:
        values = {"viewer": viewer, "mutation": mutation, "key": key, "fingerprint": fingerprint}
        if tx.execute(_take, **values, reference="", created_at=tx.now):
            return None
        row = tx.one(_find, **names)
    if row is None or row[0] != fingerprint:
        raise KeyReused(key)
    return orjson.loads(row[1]) if row[1] else None


def remember(
    tx: Tx,
    *,
    viewer: str,
    mutation: str,
    key: str,
    fingerprint: str,
    reference: dict[str, Any],
) -> None:
    """The key stands for this answer. In the same unit as `replay` and what it refers to."""
    text = orjson.dumps(reference).decode()
    tx.execute(_fill, viewer_=viewer, mutation_=mutation, key_=key, fingerprint_=fingerprint, reference_=text)


def prune(tx: Tx, *, before: int, limit: int) -> int:
    """Keys from before that time are forgotten. How many, at most `limit`."""
    return tx.execute(_prune, before_=before, limit_=limit)
