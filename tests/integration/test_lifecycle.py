"""A process closes everything that it opened, in order, whatever raises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from onward.backends.base import Backend, Defer, Delivery, Role, Run
from onward.config import settings
from onward.runtime import wiring
from onward.storage.engine import Database
from onward.storage.tables import runners
from tests import application
from tests.servers import free_port

pytestmark = pytest.mark.anyio
NAMES = ("one", "two", "three")


class Fragile(Backend):
    """A custom backend that notes its calls, and raises in one of them."""

    runs_elsewhere = False

    def __init__(self, run: Run, *, name: str, journal: str, raises_in: str = "") -> None:
        self._run = run
        self._name = name
        self._journal = Path(journal)
        self._raises_in = raises_in

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:
        raise NotImplementedError

    async def start(self, role: Role) -> None:  # noqa: ARG002
        await self._called("start")

    async def drain(self, deadline_s: float) -> None:  # noqa: ARG002
        await self._called("drain")

    async def _called(self, call: str) -> None:
        if self._raises_in == call:
            raise ZeroDivisionError(f"{self._name} cannot {call}")
        if self._raises_in == f"{call} cancelled":
            raise asyncio.CancelledError
        if self._raises_in == f"{call} never":
            await asyncio.Event().wait()
        note(self._journal, f"{call} {self._name}")


def note(journal: Path, line: str) -> None:
    with journal.open("a") as file:
        file.write(f"{line}\n")


@asynccontextmanager
async def failing_lifespan() -> AsyncIterator[None]:
    yield
    raise ZeroDivisionError("the pool cannot be closed")


def opened() -> str:
    raise ZeroDivisionError("the pool\ncannot be opened")


@asynccontextmanager
async def unready_lifespan() -> AsyncIterator[str]:
    yield opened()


@asynccontextmanager
async def cancelling_lifespan() -> AsyncIterator[None]:
    task = asyncio.create_task(asyncio.Event().wait())
    yield
    task.cancel()
    await task


@asynccontextmanager
async def swallowing_lifespan() -> AsyncIterator[None]:
    with suppress(Exception):  # as in code that wants to go on
        yield


class Project:
    """A project with three backends, of which `two` raises; its metrics have an address of their own."""

    def __init__(self, folder: Path) -> None:
        application.write(folder)
        self._folder = folder
        self._journal = folder / "journal"
        self._port = free_port()
        self._others = set(threading.enumerate())  # of servers that tests of this process share

    def load(self, *, raises_in: str = "", lifespan: str = "") -> settings.Settings:
        classes = {"class": f"{__name__}:Fragile", "journal": str(self._journal)}
        backends: dict[str, Any] = {name: {**classes, "name": name} for name in NAMES}
        backends["two"]["raises_in"] = raises_in
        given = application.tables({"handlers": {"lifespan": f"{__name__}:{lifespan}"}} if lifespan else {})
        return settings.load(
            self._folder,
            backend="one",
            backends=backends,
            routes={"email.*": "two", "logging.*": "three"},
            server={"drain_s": 2},
            telemetry={"metrics": f"127.0.0.1:{self._port}"},
            **given,
        )

    @property
    def journal(self) -> list[str]:
        return self._journal.read_text().splitlines() if self._journal.exists() else []

    async def is_closed(self, loaded: settings.Settings) -> bool:
        """Return whether the lease, the threads of the writer and the lease, and the metrics' listener are gone."""
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", self._port)
        database = Database(loaded.database.url)
        leases = database.read_sync(lambda tx: tx.all(sa.select(runners.c.id)))
        database.close()
        return not leases and not {"ledger-write", "lease"} & {
            thread.name for thread in {*threading.enumerate()} - self._others
        }


@pytest.fixture
def project(tmp_path: Path, anyio_backend: str) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("raises_in", ["drain", "drain cancelled"])
async def test_a_drain_that_raises_is_logged_once_and_everything_else_is_closed(
    project: Project, raises_in: str
) -> None:
    loaded = project.load(raises_in=raises_in)
    with capture_logs() as logs:
        async with wiring.run_process(loaded, Role.ACCEPT) as onward:
            await onward.drain()
    assert [line for line in project.journal if line.startswith("drain")] == ["drain one", "drain three"]
    assert [(line["event"], line["backend"]) for line in logs if line["log_level"] == "error"] == [
        ("the backend could not be drained", "two")
    ]
    assert await project.is_closed(loaded)


async def test_a_drain_that_never_ends_is_abandoned_at_the_deadline(project: Project) -> None:
    loaded = project.load(raises_in="drain never")
    async with asyncio.timeout(10):
        async with wiring.run_process(loaded, Role.ACCEPT):
            pass
    assert await project.is_closed(loaded)


async def test_a_start_that_raises_drains_the_started_parts_and_is_raised_once(project: Project) -> None:
    loaded = project.load(raises_in="start")
    with capture_logs() as logs, pytest.raises(ZeroDivisionError, match="two cannot start") as raised:
        async with wiring.run_process(loaded, Role.ACCEPT):
            pytest.fail("it has started")
    assert raised.value.__context__ is None
    assert project.journal == ["start one", "drain one"]
    assert not [line for line in logs if line["log_level"] == "error"]
    assert await project.is_closed(loaded)


async def test_a_start_that_lets_a_cancellation_out_has_failed(project: Project) -> None:
    loaded = project.load(raises_in="start cancelled")
    with pytest.raises(RuntimeError, match="a task that it waited for was cancelled"):
        async with wiring.run_process(loaded, Role.ACCEPT):
            pytest.fail("it has started")
    assert project.journal == ["start one", "drain one"]
    assert await project.is_closed(loaded)


@pytest.mark.parametrize("lifespan", ["failing_lifespan", "cancelling_lifespan"])
async def test_a_lifespan_that_raises_at_its_end_is_logged_after_the_drain(project: Project, lifespan: str) -> None:
    loaded = project.load(lifespan=lifespan)
    with capture_logs() as logs:
        async with wiring.run_process(loaded, Role.ACCEPT):
            pass
    (error,) = [line for line in logs if line["log_level"] == "error"]
    assert error["event"] == "the lifespan of the handlers failed at its end"
    assert error["lifespan"].endswith(lifespan)
    assert {"drain one", "drain two", "drain three"} < set(project.journal)
    assert await project.is_closed(loaded)


async def test_a_lifespan_that_raises_at_its_start_is_told_in_one_line(project: Project) -> None:
    loaded = project.load(lifespan="unready_lifespan")
    with pytest.raises(settings.SettingsError) as raised:
        async with wiring.run_process(loaded, Role.ACCEPT):
            pytest.fail("it has started")
    assert str(raised.value) == (
        f"handlers.lifespan: {__name__}:unready_lifespan failed at its start:"
        " ZeroDivisionError: the pool cannot be opened"
    )
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert not project.journal
    assert await project.is_closed(loaded)


async def test_a_lifespan_that_swallows_errors_does_not_hide_the_error_of_the_start(project: Project) -> None:
    loaded = project.load(raises_in="start", lifespan="swallowing_lifespan")
    with pytest.raises(ZeroDivisionError, match="two cannot start"):
        async with wiring.run_process(loaded, Role.ACCEPT):
            pytest.fail("it has started")
    assert await project.is_closed(loaded)
