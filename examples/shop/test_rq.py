"""The conformance suite, with real worker processes on a real Redis: `./onward --project examples/shop test`."""

import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis
from rq import Queue

from onward.testing.backend_fixture import BackendFixture
from onward.testing.conformance import Conformance

URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


class RqFixture(BackendFixture):
    name = "rq"

    def __init__(self) -> None:
        self._queue = f"test-{uuid.uuid4().hex}"

    def settings(self, project: Path) -> str:
        return f'[backends.rq]\nclass = "rq_backend:Rq"\nurl = "{URL}"\nqueue = "{self._queue}"'

    def worker(self) -> Sequence[str]:
        return (sys.executable, "-m", "onward.worker", "serve", "1")

    def clear(self) -> None:
        with redis.Redis.from_url(URL) as client:
            for name in (f"{self._queue}.high", self._queue, f"{self._queue}.low"):
                queue = Queue(name, connection=client, serializer="json")
                client.delete(queue.failed_job_registry.key, queue.started_job_registry.key)
                queue.delete(delete_jobs=True)


@pytest.fixture(scope="module")
def backend_fixture() -> BackendFixture:
    return RqFixture()


class TestRq(Conformance):
    """All contract tests."""
