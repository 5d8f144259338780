"""A job to run a handler with, and an SMTP server to send to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from database.items import ItemStore
from handlers.resources import Resources
from onward.handlers.base import JSON, Handler, JobRequest, Toolbox
from onward.handlers.journal import JsonLines
from onward.mail.mailer import FileMailer


class MemoryItems:
    """An item store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, JSON]] = {}

    async def put(self, job_id: str, **item: JSON) -> None:
        self.kept.setdefault(job_id, item)


@dataclass
class PlainJob:
    """A job outside of any ledger."""

    tools: Toolbox
    resources: Resources
    id: str = "job_1"
    handler: str = "test.handler"
    owner: str | None = None
    attempt: int = 1
    dispatched: list[tuple[str, dict[str, JSON]]] = field(default_factory=list)

    @property
    def idempotency_key(self) -> str:
        return self.id

    def progress(self, completed: int, total: int | None = None, message: str | None = None) -> None: ...

    def check(self) -> None: ...

    def dispatch(self, request: str | JobRequest, /, **given: Any) -> str:
        name, params = (request, given) if isinstance(request, str) else (request.handler, request.params)
        self.dispatched.append((name, dict(params)))
        return f"job_{len(self.dispatched) + 1}"


@pytest.fixture
def job(tmp_path: Path) -> PlainJob:
    mailer = FileMailer(tmp_path / "mail", "Onward <no-reply@localhost>")
    tools = Toolbox(mailer, JsonLines(tmp_path / "log" / "lines.jsonl"))
    return PlainJob(tools, Resources(cast("ItemStore", MemoryItems())))


Run = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
def run() -> Run:
    """Run a handler as a runner does, with JSON between its steps; return each step's result."""

    async def run(handler: Handler, job: PlainJob, **params: Any) -> list[Any]:
        results: list[Any] = []
        for index, step in enumerate(handler.steps):
            args, kwargs = ([], handler.arguments(handler.bind(params))) if index == 0 else ([results[-1]], {})
            if step.is_async:
                results.append(await step.call(job, *args, **kwargs))
            else:
                results.append(await asyncio.to_thread(step.call, job, *args, **kwargs))
        return results

    return run


class Desk(SMTP):
    """One connection of the SMTP server."""

    office: "PostOffice"

    def hang_up(self) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.abort()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        if self.office.cut_in_data > 0:
            self.office.cut_in_data -= 1
            await self.push("354 go on")
            await self._reader.readline()
            self.hang_up()
            return
        await super().smtp_DATA(arg)

    async def smtp_NOOP(self, arg: str) -> None:  # noqa: ARG002, N802
        await self.push(self.office.noop)


class PostOffice:
    """A real SMTP server on a free port, which records messages, and fails as the test asks."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.desks: list[Desk] = []
        self.answers: dict[str, list[str]] = {}  # by recipient, or "DATA"; one used up each time
        self.cut_in_data = 0
        self.noop = "250 OK"
        self.pace_s = 0.0
        self.port = 0
        self._serving: asyncio.Server | None = None

    async def open(self, *, ssl: Any = None, **options: Any) -> None:
        if "authenticator" not in options:
            options["authenticator"] = self.authenticate
        options.setdefault("enable_SMTPUTF8", True)

        def desk() -> Desk:
            self.desks.append(made := Desk(self, hostname="post.test", **options))
            made.office = self
            return made

        loop = asyncio.get_running_loop()
        self._serving = await loop.create_server(desk, "127.0.0.1", self.port, ssl=ssl)
        self.port = self._serving.sockets[0].getsockname()[1]

    @property
    def open_desks(self) -> list[Desk]:
        return [desk for desk in self.desks if desk.transport is not None and not desk.transport.is_closing()]

    async def close(self) -> None:
        if self._serving is not None:
            self._serving.close()
        for desk in self.open_desks:
            desk.hang_up()
        await asyncio.sleep(0)

    def authenticate(self, _server: Any, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        return AuthResult(success=data == LoginPassword(b"onward", b"secret"), handled=False)

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.answers.get(address):
            return self.answers[address].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        await asyncio.sleep(self.pace_s)
        if self.answers.get("DATA"):
            return self.answers["DATA"].pop(0)
        self.taken.append(envelope)
        return "250 OK"


@pytest.fixture
async def office(anyio_backend: str) -> AsyncIterator[PostOffice]:
    office = PostOffice()
    yield office
    await office.close()
