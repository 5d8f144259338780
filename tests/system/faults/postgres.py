"""The PostgreSQL of one campaign, which can be crashed and restarted, and whose connections can be cut."""

import os
import signal
import subprocess
import time
import uuid
from contextlib import ExitStack, suppress
from typing import Any

import psycopg

from tests.servers import Server, postgres_server


class Postgres:
    """A server of its own; `database` creates an empty database on it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._server: Server = self._stack.enter_context(postgres_server())
        self._process = self._server.process

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"faults_{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._server.url.rsplit("/", 1)[0] + f"/{name}"

    def connect(self) -> Any:
        return psycopg.connect(self._server.url, autocommit=True, connect_timeout=2)

    def cut(self) -> int:
        """Let the server end every connection of the program; return their number."""
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'onward' AND pid <> pg_backend_pid()"
            ).fetchall()
        return len(rows)

    def crash(self) -> None:
        """Kill every process of the server at once."""
        os.kill(self._process.pid, signal.SIGQUIT)
        self._process.wait(20)

    def start(self) -> None:
        """Start the server, and wait until it has recovered from its journal."""
        before = self._server.process
        if self._process.poll() is None:
            return
        self._process = subprocess.Popen(
            before.args,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder(),
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(psycopg.Error), self.connect():
                return
            time.sleep(0.05)
        raise AssertionError("PostgreSQL did not start again")

    def _folder(self) -> str:
        arguments: Any = self._server.process.args
        return str(arguments[arguments.index("-D") + 1])

    def close(self) -> None:
        if self._process is not self._server.process:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._stack.close()
