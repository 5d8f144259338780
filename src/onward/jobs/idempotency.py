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
    """Return a digest of the whole input, equal for equal values."""
    text = json.dumps(input, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def replay(tx: Tx, *, viewer: str, mutation: str, key: str, fingerprint: str) -> dict[str, Any] | None:
    """Return the answer of the key; None if the key is new. Raises KeyReused if its input was another.

    A new key is taken: another process with the same key waits for the commit of this transaction.
    """
    values = {"viewer": viewer, "mutation": mutation, "key": key, "fingerprint": fingerprint}
    with tx.ahead():
        if tx.execute(_take, **values, reference="", created_at=tx.now):
            return None
        found = tx.one(_find, viewer_=viewer, mutation_=mutation, key_=key)
    known, reference = found or (None, None)
    if known != fingerprint:
        raise KeyReused(key)
    return orjson.loads(reference) if reference else None


def remember(
    tx: Tx,
    *,
    viewer: str,
    mutation: str,
    key: str,
    fingerprint: str,
    reference: dict[str, Any],
) -> None:
    """Record the answer of the key, in the transaction of `replay` and of the rows that the answer refers to."""
    text = orjson.dumps(reference).decode()
    with tx.ahead():
        tx.execute(_fill, viewer_=viewer, mutation_=mutation, key_=key, fingerprint_=fingerprint, reference_=text)


def prune(tx: Tx, limit: int, *, before: int) -> int:
    """Delete keys from before that time; return how many, at most `limit`."""
    return tx.execute(_prune, before_=before, limit_=limit)
