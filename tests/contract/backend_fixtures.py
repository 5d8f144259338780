"""The backend fixtures of the two built-in backends."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import redis

from onward.jobs.timings import Timings
from onward.testing import processes
from onward.testing.backend_fixture import BackendFixture
from onward.testing.processes import Worker
from tests import forked
from tests.processes import environment

POSTGRESQL = ("onward.storage.pooler", "onward.storage.postgresql", "psycopg", "sqlalchemy.dialects.postgresql.psycopg")


class OnDatabase(BackendFixture):
    """A backend fixture whose ledger is SQLite, or the PostgreSQL database that it is given.

    Its workers are forked, which saves the second of processor time that their imports take.
    """

    preloaded: Sequence[str] = ("onward.testing.workload", "tomllib")

    def __init__(self, database: str | None = None) -> None:
        self._database = database
        self.schema = "other" if database else type(self).schema  # nothing may depend on the default

    def database(self, project: Path) -> str:
        return self._database or super().database(project)

    def start(self, project: Path, timings: Timings, queues: str = "") -> Worker:
        """Fork a process that runs the command's module."""
        program, *arguments = self.worker()[self.worker().index("-m") + 1 :]
        log = processes.log_of(project)
        process = forked.template(environment()["PYTHONPATH"]).start(
            arguments,
            environment=processes.environment(project, timings, queues),
            cwd=project,
            out=log,
            error=log,
            program=program,
            preloaded=[*self.preloaded, *(POSTGRESQL if self._database else ())],
        )
        return Worker(process)


class BackgroundFixture(OnDatabase):
    name = "background"
    preloaded = (*OnDatabase.preloaded, "onward.backends.background")

    def settings(self, project: Path) -> str:  # noqa: ARG002 - it keeps nothing of its own
        return "[backends.background]\nconcurrency = 16"


class DramatiqFixture(OnDatabase):
    name = "dramatiq"
    preloaded = (*OnDatabase.preloaded, "onward.backends.dramatiq", "onward.worker.consumers")

    def __init__(self, redis_url: str, database: str | None = None) -> None:
        super().__init__(database)
        self._url = redis_url
        self.namespace = f"test-{uuid.uuid4().hex}"

    def settings(self, project: Path) -> str:  # noqa: ARG002 - it keeps everything in Redis
        return f'[backends.dramatiq]\nurl = "{self._url}"\nnamespace = "{self.namespace}"'

    def worker(self) -> Sequence[str]:
        return (sys.executable, "-m", "onward.worker", "serve", "8")

    def clear(self) -> None:
        with redis.Redis.from_url(self._url) as client:
            for key in client.scan_iter(f"{self.namespace}*"):
                client.delete(key)
