"""An application process without HTTP: `python -m onward.testing.node`.

It accepts jobs over a local socket, one line of JSON in and one out, as a request does: a transaction for each job, one
delivery for all of them, the answer, and then the functions that the backend deferred until after the response.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from onward import telemetry
from onward.backends.base import Delivery, Role
from onward.config import settings
from onward.jobs.model import Job
from onward.runtime import wiring
from onward.runtime.event_loop import Loop

ANSWER_TIMEOUT_S = 20.0


def port_file(project: Path, pid: int) -> Path:
    """Return the file that holds the port of that process."""
    return project / "ports" / str(pid)


async def accept(onward: wiring.Runtime, wanted: list[dict[str, Any]]) -> list[Job]:
    """Accept jobs, each in its own transaction function, as the mutations of one request do."""
    jobs = []
    for one in wanted:
        params = one.pop("params")
        if "expires_us" in one:
            one["expires"] = timedelta(microseconds=one.pop("expires_us"))
        new = onward.dispatcher.prepare(one.pop("handler"), params, owner=one.pop("owner", None), **one)
        jobs.append(await onward.writer.run(lambda tx, new=new: onward.dispatcher.accept(tx, new)))  # type: ignore[misc]
    return jobs


async def again(onward: wiring.Runtime, ids: list[str], later: Callable[..., None]) -> None:
    """Deliver these ids once more."""
    backend = onward.dispatcher.backends[onward.settings.backend]
    await backend.deliver([Delivery(job_id, "") for job_id in ids], after_response=later)


class RequestServer:
    """Serves the requests of one process."""

    def __init__(self, onward: wiring.Runtime) -> None:
        self._onward = onward

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        later: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

        def defer(function: Callable[..., Any], *arguments: Any) -> None:
            later.append((function, arguments))

        asked = json.loads(await reader.readline())
        jobs = await accept(self._onward, asked.get("accept", []))
        await self._onward.dispatcher.deliver(jobs, after_response=defer, in_order=True)
        if "again" in asked:
            await again(self._onward, asked["again"], defer)
        writer.write(json.dumps([job.id for job in jobs]).encode() + b"\n")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        for function, arguments in later:
            await function(*arguments)


async def ask(port: int, **request: Any) -> list[str]:
    """Send a request to the process and return the ids of the jobs that it accepted. Raises TimeoutError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            ids: list[str] = json.loads(await reader.readline())
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return ids


async def main() -> None:
    """Take part in the project until SIGTERM."""
    loaded = settings.load()
    telemetry.configure(loaded.environment)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with wiring.run_process(loaded, Role.ACCEPT) as onward:
        server = await asyncio.start_server(RequestServer(onward), "127.0.0.1", 0)
        async with server:
            _announce(port_file(loaded.project, os.getpid()), server.sockets[0].getsockname()[1])
            await stop.wait()


def _announce(file: Path, port: int) -> None:
    """Write the port to the file atomically."""
    file.parent.mkdir(exist_ok=True)
    aside = file.with_suffix(".new")
    aside.write_text(str(port))
    aside.rename(file)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
    os._exit(0)  # threads of handlers that hang must not keep the process, as in the application
