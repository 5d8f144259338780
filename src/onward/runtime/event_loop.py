"""The event loop of a process, which no handler can end.

A `sys.exit()` in a task of a handler's own, or in a callback, goes through asyncio up to whoever runs the loop: the
process would end, or, where the loop has a thread of its own, look alive and never run anything again. Signals come by
handlers of their own, so that Ctrl-C needs no exception here.
"""

import uvloop

from onward.telemetry import logger


class Loop(uvloop.Loop):
    """Continues after a handler tried to end the process; the code that awaits it still gets the exception."""

    def run_forever(self) -> None:
        while True:
            try:
                super().run_forever()
            except (SystemExit, KeyboardInterrupt):
                logger("loop").exception("something tried to end the process")
            else:
                return
