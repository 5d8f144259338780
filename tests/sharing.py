"""Servers that all test processes of a run share, started by the process that distributes the tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.servers import Missing, Server, postgres_server, redis_server

START_S = 120.0
CONNECTIONS = "max_connections=400"


class Shared:
    """One server, and a file with its address, or with the name of the missing program."""

    def __init__(self, file: Path, starting: Callable[[], AbstractContextManager[Server]]) -> None:
        self._file = file
        self._starting = starting
        self._over = threading.Event()
        # It lives as long as the server does: the kernel ends that one with the thread that started it.
        self._thread = threading.Thread(target=self._keep, name=file.name, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        try:
            with self._starting() as server:
                _say(self._file, server.url)
                self._over.wait()
        except Missing as missing:
            _say(self._file, f"missing: {missing}")

    def close(self) -> None:
        self._over.set()
        self._thread.join(20)


def postgresql() -> AbstractContextManager[Server]:
    """Return the PostgreSQL that tests share."""
    return postgres_server(CONNECTIONS, in_memory=True)


def begin(folder: Path) -> list[Shared]:
    """Start a Redis and a PostgreSQL; `address` waits for them."""
    return [Shared(folder / "redis", redis_server), Shared(folder / "postgresql", postgresql)]


def address(folder: Path, name: str) -> str:
    """Return the address of the shared server. Raises Missing."""
    deadline = time.monotonic() + START_S
    while not (folder / name).exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the shared {name} did not start")
        time.sleep(0.05)
    said = (folder / name).read_text("utf-8")
    if said.startswith("missing: "):
        raise Missing(said.removeprefix("missing: "))
    return said


def _say(file: Path, words: str) -> None:
    """Write the text atomically."""
    aside = file.with_suffix(".new")
    aside.write_text(words, "utf-8")
    aside.rename(file)
