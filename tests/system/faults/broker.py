"""The Redis of one campaign, which can be stopped, frozen, emptied, filled and restarted with or without its data."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis

from tests.servers import Server, free_port, redis_server


class Broker:
    """A redis-server on a port that stays the same."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Start nothing yet. `options` are further words of its command line, which by default keeps no data."""
        self.port = free_port()
        self._folder = folder
        self._options = ("--dir", str(folder), *options)
        self._stack = ExitStack()
        self._server: Server | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        if self._server is None:
            self._server = self._stack.enter_context(redis_server(*self._options, port=self.port))

    def kill(self) -> None:
        """Kill Redis, and lose the data that is not on its disk."""
        if self._server is not None:
            self._server.process.kill()
            self._stack.close()
            self._server = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def client(self) -> Any:
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def save(self) -> None:
        """Write Redis's data to disk, if it was started with a file."""
        with self.client() as client:
            client.save()

    def forget(self) -> None:
        """Remove the data that the next restart would load."""
        (self._folder / "dump.rdb").unlink()

    def fill(self) -> None:
        """Fill the memory, so that Redis refuses writes."""
        with self.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")

    def drain(self) -> None:
        """Free the memory again."""
        with self.client() as client:
            client.config_set("maxmemory", "0")

    def close(self) -> None:
        if self._server is not None:
            self.thaw()
        self._stack.close()
        self._server = None

    def _signal(self, number: int) -> None:
        assert self._server is not None
        os.kill(self._server.process.pid, number)
