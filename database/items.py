"""The items of `steps.process_item`: one row for each job, however often the step is repeated."""

from __future__ import annotations

from database.tables import items
from onward import Ledger, Tx
from onward.storage.sql import insert_new

_insert = insert_new(items)


class ItemStore:
    """Writes items to the ledger's database."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def put(self, job_id: str, *, text: str, characters: int, words: int, lines: int, sha256: str) -> None:
        """Store the item, once for each job. Raises Unavailable."""

        def insert(tx: Tx) -> None:
            tx.execute(
                _insert,
                job_id=job_id,
                text=text,
                characters=characters,
                words=words,
                lines=lines,
                sha256=sha256,
                created_at=tx.now,
            )

        await self._ledger.write(insert)
