"""The id of a ledger, by which a session of another database is recognised."""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from onward.storage.sql import insert_new
from onward.storage.tables import meta
from onward.storage.transaction import Tx

ID_NAME = "ledger"
LEDGER_ID = sa.select(meta.c.value).where(meta.c.name == ID_NAME)
_give = insert_new(meta).values(name=ID_NAME, value=sa.bindparam("id_"))


def ledger_id(tx: Tx) -> str:
    """Return the ledger's id, and give it one first if it has none."""
    tx.execute(_give, id_=secrets.token_hex(16))
    return str(tx.scalar(LEDGER_ID))
