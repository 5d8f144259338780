"""The leader: the one process of a ledger that runs maintenance."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from onward.storage.sql import insert_new
from onward.storage.tables import meta
from onward.storage.transaction import Tx

LEADER = "sweep"  # the name in `meta`, which releases that share a ledger agree on

_p = sa.bindparam
_leader = sa.select(meta.c.value).where(meta.c.name == LEADER)
_lead_first = insert_new(meta).values(name=LEADER, value=_p("id_"))
_lead_next = sa.update(meta).where(meta.c.name == LEADER, meta.c.value == _p("old")).values(value=_p("id_"))
_resign = sa.delete(meta).where(meta.c.name == LEADER, meta.c.value == _p("id_"))


def resign(tx: Tx, runner: str) -> None:
    """Let another runner lead, if this one does."""
    tx.execute(_resign, id_=runner)


def elect(tx: Tx, runner: str, alive: Collection[str]) -> bool:
    """Make the runner the leader if there is no living one, and return whether it leads."""
    leader: str | None = tx.scalar(_leader)
    if leader is None:
        return bool(tx.execute(_lead_first, id_=runner))
    if leader not in alive:
        return bool(tx.execute(_lead_next, id_=runner, old=leader))
    return leader == runner
