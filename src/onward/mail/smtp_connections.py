"""SMTP connections that are reused."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiosmtplib import SMTP, SMTPException, SMTPRecipientsRefused, SMTPResponseException

PROBE_TIMEOUT_S = 3.0


class Connections:
    """The connections of one event loop: at most `limit`, each for one message at a time, closed when idle."""

    def __init__(self, connect: Callable[[], Awaitable[SMTP]], *, limit: int, idle_s: float) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(limit)
        self._idle: list[tuple[SMTP, asyncio.TimerHandle]] = []
        self._idle_s = idle_s
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncIterator[SMTP]:
        """Lend a connection that has just answered; it is kept unless it was lost or left in an unknown state."""
        async with self._slots:
            smtp = await self._alive() or await self._connect()
            try:
                yield smtp
            except SMTPRecipientsRefused:
                self._keep(smtp)
                raise
            except SMTPResponseException as error:
                if error.code > 0:  # aiosmtplib gives -1 where there was no answer
                    self._keep(smtp)
                else:
                    smtp.close()
                raise
            except BaseException:
                smtp.close()
                raise
            self._keep(smtp)

    async def close(self) -> None:
        """Close the idle connections now, the others after their message."""
        self._closed = True
        while self._idle:
            smtp, timer = self._idle.pop()
            timer.cancel()
            try:
                await smtp.quit(timeout=PROBE_TIMEOUT_S)
            except (SMTPException, OSError):
                pass
            finally:
                smtp.close()

    def drop(self) -> None:
        """Close the idle connections at once. For the loop's own thread."""
        self._closed = True
        while self._idle:
            smtp, timer = self._idle.pop()
            timer.cancel()
            smtp.close()

    async def _alive(self) -> SMTP | None:
        # Asked first, so that a connection the server has given up costs no message and no attempt.
        while self._idle:
            smtp, timer = self._idle.pop()
            timer.cancel()
            try:
                await smtp.noop(timeout=PROBE_TIMEOUT_S)
                return smtp
            except (SMTPException, OSError):
                smtp.close()
            except BaseException:
                smtp.close()
                raise
        return None

    def _keep(self, smtp: SMTP) -> None:
        if self._closed or not smtp.is_connected:
            smtp.close()
            return
        entry: list[tuple[SMTP, asyncio.TimerHandle]] = []
        timer = asyncio.get_running_loop().call_later(self._idle_s, lambda: self._expire(entry[0]))
        entry.append((smtp, timer))
        self._idle.append(entry[0])

    def _expire(self, entry: tuple[SMTP, asyncio.TimerHandle]) -> None:
        self._idle.remove(entry)
        entry[0].close()
