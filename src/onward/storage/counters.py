"""The end of a transaction: its buffered rows, the counters of jobs by status, and the figures of the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa

if TYPE_CHECKING:
    from onward.storage.transaction import Tx

COUNT = sa.text(
    "INSERT INTO _ledger.counts AS counts (slot, owner, status, n) VALUES (:slot, :owner, :status, :n)"
    " ON CONFLICT (slot, owner, status) DO UPDATE SET n = counts.n + excluded.n"
)
FIGURES = sa.text("INSERT INTO _ledger.figures (at, data) VALUES (:at, :data)")
# Both on PostgreSQL, since each statement waits for the server's answer to the one before.
BOTH = sa.text("""
WITH counted AS (
    INSERT INTO _ledger.counts AS counts (slot, owner, status, n)
    SELECT CAST(:slot AS INTEGER), one ->> 0, one ->> 1, CAST(one ->> 2 AS BIGINT)
    FROM jsonb_array_elements(CAST(:counts AS JSONB)) AS one
    ON CONFLICT (slot, owner, status) DO UPDATE SET n = counts.n + excluded.n
)
INSERT INTO _ledger.figures (at, data) VALUES (CAST(:at AS BIGINT), :data)
""")


def write(tx: Tx, slot: int) -> None:
    """Write the buffered rows, and what the functions have counted; counters are locked in the order of their keys."""
    tx.flush()
    moved = [(owner, status, n) for (owner, status), n in sorted(tx.deltas.items()) if n]
    figures = tx.figures
    data = orjson.dumps([(*key, n) for key, n in figures.items()]).decode() if figures else None
    if data is not None and tx.dialect == "postgresql":
        tx.execute(BOTH, slot=slot, counts=orjson.dumps(moved).decode(), at=tx.now, data=data)
        return
    for owner, status, n in moved:
        tx.insert(COUNT, {"slot": slot, "owner": owner, "status": status, "n": n})
    if data is not None:
        tx.insert(FIGURES, {"at": tx.now, "data": data})
    tx.flush()
