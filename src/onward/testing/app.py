"""The application in the test's process, with its own ledger and a backend made for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import httpx2
import orjson
from starlette.applications import Starlette

from onward.api.app import create_app
from onward.backends.base import Delivery
from onward.config import settings
from onward.handlers.base import JobRequest
from onward.jobs import chunks, ledger
from onward.jobs.model import Job, JobChunk, Visible
from onward.runtime import wiring
from onward.testing.backends import Recording

EVERYTHING = Visible(everything=True)
CLASSES = {"immediate": "onward.testing.backends:Immediate", "recording": "onward.testing.backends:Recording"}


class TestApp:
    """The application under test: sends operations, enqueues jobs, reads jobs, mail and log entries."""

    __test__ = False  # pytest takes a class of this name for a test otherwise

    def __init__(self, app: Starlette, client: httpx2.AsyncClient) -> None:
        self.app = app
        self.onward: wiring.Runtime = app.state.onward
        self._client = client

    async def graphql(self, document: str, /, **variables: Any) -> dict[str, Any]:
        """Send an operation over HTTP and return the whole answer: `data`, and `errors` if there are any."""
        answer = await self._client.post("/graphql", json={"query": document, "variables": variables})
        found: dict[str, Any] = answer.json()
        return found

    async def accept(self, handler: str | JobRequest, /, **params: Any) -> Job:
        """Accept and deliver a job, as a mutation does; with `onward_immediate` it has run on return.

        `accept(confirm.job(order="A-17"))`, or by the handler's name: `accept("orders.confirm", order="A-17")`.
        """
        asked = JobRequest(handler, params) if isinstance(handler, str) else handler
        new = self.onward.dispatcher.prepare(asked.handler, asked.params, owner=None)
        job = await self.onward.writer.run(lambda tx: self.onward.dispatcher.accept(tx, new))
        await self.onward.dispatcher.deliver([job], after_response=self.onward.dispatcher.defer)
        return await self.job(job.id)

    async def job(self, job_id: str) -> Job:
        """Return the job in its present state. Raises LookupError if there is no such job."""
        job = await self.onward.database.read(lambda tx: ledger.get(tx, job_id))
        if job is None:
            raise LookupError(f"no job {job_id}")
        return job

    async def output(self, job_id: str) -> list[JobChunk]:
        """Return the chunks of the job's output that are in the ledger, in order."""
        found: list[JobChunk] = []
        page = None
        while page is None or not page.is_last:
            after = found[-1].offset if found else -1
            page = await self.onward.database.read(partial(chunks.page, job_id=job_id, after=after, visible=EVERYTHING))
            if page is None:
                raise LookupError(f"no job {job_id}")
            found += page.chunks
        return found

    @property
    def delivered(self) -> list[Delivery]:
        """The deliveries that the recording backend was given, in order (`onward_recording` only)."""
        found = [cast("Recording", backend) for backend in self.onward.dispatcher.backends.values()]  # one a queue
        placed = [pair for one in found for pair in zip(one.places, one.delivered, strict=True)]
        return [delivery for _, delivery in sorted(placed, key=itemgetter(0))]

    def mail(self) -> list[EmailMessage]:
        """The messages that handlers sent, in order."""
        files = sorted(self.onward.settings.email.directory.glob("*.eml"))
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]

    def log(self) -> list[dict[str, Any]]:
        """The entries that handlers appended to the log, in order."""
        file = self.onward.settings.log.path
        return [orjson.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


@asynccontextmanager
async def running(backend: str, folder: Path, given: Mapping[str, Any]) -> AsyncIterator[TestApp]:
    """Run the application with `folder` as its project; `given` holds further tables of settings.toml.

    The environment's settings do not count: they may name a ledger whose jobs are somebody's.
    `backend` wins over the one in `given`, which may be a whole settings.toml.
    """
    (folder / "settings.toml").touch()
    backends = {**given.get("backends", {}), backend: {"class": CLASSES[backend]}}
    tables = {**given, "backend": backend, "backends": backends}
    # Tests open the file with Python's own SQLite, and enqueue.
    app = create_app(settings.load_without_environment(folder, **tables), embedded=True)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        yield TestApp(app, client)
