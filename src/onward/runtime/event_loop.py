"""The event loop of a process, which no handler can end.

A `sys.exit()` in a task of a handler's own, or in a callback, goes through asyncio up to whoever runs the loop: the
process would end, or, where the loop has a thread of its own, look alive and never run anything again. Signals come by
handlers of their own, so that Ctrl-C needs no exception here. The same is true of a handler that stops the loop.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from onward.telemetry import logger


class Loop(uvloop.Loop):
    """Continues after a handler tried to end the process; the code that awaits it still gets the exception.

    Nothing stops it before the future that it runs is done, or the process ends.
    """

    is_process = True  # nothing else runs on it: it may be ended with its process
    _awaited: asyncio.Future[Any] | None = None

    def run_forever(self) -> None:
        while True:
            try:
                super().run_forever()
            except (SystemExit, KeyboardInterrupt):
                logger("loop").exception("something tried to end the process")
            else:
                return

    def run_until_complete(self, future: Any) -> Any:
        before, self._awaited = self._awaited, asyncio.ensure_future(future, loop=self)
        try:
            return super().run_until_complete(self._awaited)
        finally:
            self._awaited = before

    def stop(self) -> None:
        """Stop at the end of what it runs, as asyncio wants it. Raises RuntimeError in any other code."""
        if self._awaited is None or not self._awaited.done():
            raise RuntimeError("the event loop runs all of this process, and no handler may stop it")
        super().stop()
