"""Wakes a process when another one may have put jobs into the ledger.

SQLite is asked for its number of commits, which is in shared memory, every few hundredths of a second. PostgreSQL tells
of the commits that are announced (`Tx.announce`), on a connection that listens and costs nothing while nothing comes;
through a pooler of transactions nobody can listen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from onward.storage.engine import Database
from onward.storage.revision import Revision

RECHECK_S = 3600.0  # without a commit nobody is woken
RECONNECT_S = 1.0


class Wakeups:
    """Calls `wake` on the event loop; also when nothing has come, and once after it could not hear for a while."""

    def __init__(self, database: Database, wake: Callable[[], None], *, look_s: float) -> None:
        self._database = database
        self._wake = wake
        self._look_s = look_s
        self._revision = Revision(database, RECHECK_S)
        self._looking: asyncio.TimerHandle | None = None
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look or to listen. From the event loop."""
        if self._database.driver.revision:
            self._revision.has_changed()  # from now on: what was there before is found without a wake-up
            self._looking = asyncio.get_running_loop().call_later(self._look_s, self._look)
        else:
            self._listening = asyncio.create_task(self._listen(), name="wake-ups")

    async def close(self) -> None:
        """Wake nobody any more. May be called twice, and without a start."""
        if self._looking is not None:
            self._looking.cancel()
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening

    def _look(self) -> None:
        # A timer, and no task that waits: it takes a third of the processor time.
        self._looking = asyncio.get_running_loop().call_later(self._look_s, self._look)
        if self._revision.has_changed():
            self._wake()

    async def _listen(self) -> None:
        while True:
            with suppress(Exception):  # whoever reads the ledger meets it there, and says so
                connection = await self._connect()
                if connection is None:
                    return
                try:
                    self._wake()  # for what was announced before
                    await self._heed(connection)
                finally:
                    connection.close()
            await asyncio.sleep(RECONNECT_S)

    async def _connect(self) -> Any:
        opening = asyncio.ensure_future(asyncio.to_thread(self._database.driver.listen))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with suppress(Exception):
                if (connection := await opening) is not None:
                    connection.close()
            raise

    async def _heed(self, connection: Any) -> None:
        """Wake for each commit that is announced, until the connection breaks."""
        loop, broken = asyncio.get_running_loop(), asyncio.Event()

        def read() -> None:
            try:
                if self._database.driver.hears(connection):
                    self._wake()
            except Exception:  # noqa: BLE001 - as above
                loop.remove_reader(number)
                broken.set()

        number = connection.fileno()
        loop.add_reader(number, read)
        try:
            await broken.wait()
        finally:
            loop.remove_reader(number)
