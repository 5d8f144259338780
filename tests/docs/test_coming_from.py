"""The pages for those who come from another library: their code runs, ours runs, and so does the code in between.

Celery and taskiq are installed for the benchmarks alone, so their code runs in a `long` test.
"""

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from dramatiq import Worker, set_broker
from dramatiq.brokers.stub import StubBroker

from benchmarks import environment
from onward import Onward
from onward.backends.base import Role
from onward.config.settings import load
from onward.runtime.wiring import Runtime, run_process
from onward.storage.tables import jobs
from tests.docs.fences import fences
from tests.processes import ROOT

LONG = timedelta(seconds=60)
PAGES = ["celery", "dramatiq", "backgroundtasks", "taskiq"]
MODULES = ("orders", "tasks", "views", "post", "api", "celery_app", "broker")
POST = """sent = {}


def send(order, *, key):
    sent.setdefault(key, order)
"""


class Page:
    """The files of a page in a folder, which is first on the import path."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.fences = [fence for fence in fences(ROOT / "docs" / f"from-{name}.md") if fence.file]
        (folder / "post.py").write_text(POST)
        self.write("settings.toml")
        self.write("orders.py")

    def write(self, file: str, number: int = 0) -> None:
        """Write the file; `number` counts the blocks of that name."""
        (self.folder / file).write_text(self.text(file, number), "utf-8")

    def text(self, file: str, number: int = 0) -> str:
        return [fence.text for fence in self.fences if fence.file == file][number]

    def module(self, name: str, number: int = 0) -> ModuleType:
        """Import a module of the page, anew if it is imported already."""
        self.write(f"{name}.py", number)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return importlib.import_module(name)
        finally:
            sys.dont_write_bytecode = before


class Served:
    """A ledger whose jobs are run in the background, as seen by another program."""

    def __init__(self, running: Runtime, onward: Onward) -> None:
        self._running = running
        self.onward = onward

    async def result(self, job_id: str) -> Any:
        return await self.onward.result(job_id, timeout=LONG)

    async def results(self) -> list[Any]:
        """Wait for all jobs and return their results."""
        ids = await self._running.database.read(lambda tx: [job_id for (job_id,) in tx.all(sa.select(jobs.c.id))])
        return [await self.result(job_id) for job_id in ids]


@asynccontextmanager
async def serving(page: Page) -> AsyncIterator[Served]:
    async with (
        run_process(load(page.folder), Role.ACCEPT, embedded=True) as running,  # the SQLite of those who enqueue here
        Onward.from_settings(page.folder) as onward,
    ):
        yield Served(running, onward)


@pytest.fixture
def page(
    request: pytest.FixtureRequest, tmp_path: Path, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    monkeypatch.setenv("ONWARD_DATABASE__URL", sqlite_ledger)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield Page(request.param, tmp_path)
    for name in MODULES:
        sys.modules.pop(name, None)


def sent() -> dict[str, str]:
    found: dict[str, str] = sys.modules["post"].sent
    return found


@pytest.mark.parametrize("page", ["celery"], indirect=True)
async def test_a_view_enqueues_the_job_of_the_moved_task(page: Page) -> None:
    assert page.text("views.py") == Page("dramatiq", page.folder).text("views.py"), "run that page's, too"
    async with serving(page) as served:
        views = page.module("views")
        first = await asyncio.to_thread(views.submit, "A-17")
        assert await served.result(first) == "A-17 is confirmed"
        assert await asyncio.to_thread(views.submit, "A-17") == first
        assert sent() == {"confirm-A-17": "A-17"}
        views.onward.sync.close()


@pytest.mark.parametrize("page", ["taskiq"], indirect=True)
async def test_an_asynchronous_view_enqueues_the_job_of_the_moved_task(page: Page) -> None:
    async with serving(page) as served:
        views = page.module("views")
        async with views.onward:
            assert await served.result(await views.submit("A-17")) == "A-17 is confirmed"


async def confirm(api: ModuleType, order: str) -> Any:
    """Ask the application of the page over HTTP, and return its answer."""
    transport = httpx2.ASGITransport(app=api.app)
    async with (
        api.app.router.lifespan_context(api.app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        answer = await client.post(f"/orders/{order}/confirm")
    assert answer.is_success, answer.text
    return answer.json()


@pytest.mark.parametrize("page", ["backgroundtasks"], indirect=True)
async def test_the_application_on_the_page_confirms_orders_before_and_after(page: Page) -> None:
    await confirm(page.module("api"), "A-16")
    assert sent() == {"confirm-A-16": "A-16"}
    async with serving(page) as served:
        first = await confirm(page.module("api", 1), "A-17")
        assert await served.result(first["job"]) == "A-17 is confirmed"
        assert await confirm(page.module("api", 1), "A-17") == first
    assert sent() == {"confirm-A-16": "A-16", "confirm-A-17": "A-17"}


@pytest.fixture
def broker() -> Iterator[StubBroker]:
    """The global broker of Dramatiq, without a server."""
    broker = StubBroker()
    set_broker(broker)
    yield broker
    broker.close()
    set_broker(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("page", ["dramatiq"], indirect=True)
async def test_an_actor_that_forwards_makes_one_job_of_a_message(page: Page, broker: StubBroker) -> None:
    page.module("tasks").confirm.send("A-16")
    await asyncio.to_thread(work, broker)
    assert sent() == {"confirm-A-16": "A-16"}
    broker.actors.clear()
    async with serving(page) as served:
        tasks = page.module("tasks", 1)
        broker.enqueue(tasks.confirm.send("A-17"))  # as a broker that delivers a message twice
        await asyncio.to_thread(work, broker)
        assert await served.results() == ["A-17 is confirmed"]
        tasks.onward.sync.close()


def work(broker: StubBroker) -> None:
    """Run the messages that wait."""
    worker = Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        broker.join("default", timeout=30_000)
        worker.join()
    finally:
        worker.stop()


@pytest.fixture(scope="module")
def others() -> str:
    """The folder of the packages of requirements-bench.txt."""
    python = environment.program(environment.NEW, "python")
    (folder,) = python.parent.parent.glob("lib/python3*/site-packages")
    return str(folder)


@pytest.mark.slow
@pytest.mark.timeout(600)  # the packages are installed once
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", ["celery"], indirect=True)
async def test_a_task_of_celery_that_forwards_makes_one_job_of_a_message(
    page: Page, others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, others])  # behind our own packages
    app = "from celery import Celery\n\napp = Celery('shop', broker='memory://')\napp.conf.task_always_eager = True\n"
    (page.folder / "celery_app.py").write_text(app)
    assert page.module("tasks").confirm.delay("A-16").get() == "A-16 is confirmed"
    del sys.modules["celery_app"]
    async with serving(page) as served:
        tasks = page.module("tasks", 1)
        for _ in range(2):
            done = await asyncio.to_thread(tasks.confirm.apply_async, ("A-17",), task_id="one message")
            assert await served.result(done.get()) == "A-17 is confirmed"
        assert await served.results() == ["A-17 is confirmed"]
        tasks.onward.sync.close()
    assert sent() == {"confirm-A-16": "A-16", "confirm-A-17": "A-17"}


@pytest.mark.slow
@pytest.mark.timeout(600)  # the packages are installed once
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", ["taskiq"], indirect=True)
async def test_a_task_of_taskiq_that_forwards_makes_one_job_of_a_message(
    page: Page, others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, others])  # behind our own packages
    broker = "from taskiq import InMemoryBroker\n\nbroker = InMemoryBroker(await_inplace=True)\n"
    (page.folder / "broker.py").write_text(broker)
    done = await page.module("tasks").confirm.kiq("A-16")
    assert (await done.wait_result()).return_value == "A-16 is confirmed"
    del sys.modules["broker"]
    async with serving(page) as served:
        tasks = page.module("tasks", 1)
        await tasks.broker.startup()
        for _ in range(2):
            done = await tasks.confirm.kicker().with_task_id("one message").kiq("A-17")
            assert await served.result((await done.wait_result()).return_value) == "A-17 is confirmed"
        await tasks.broker.shutdown()
        assert await served.results() == ["A-17 is confirmed"]


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_every_page_is_python(name: str) -> None:
    for fence in fences(ROOT / "docs" / f"from-{name}.md"):
        if fence.language == "python":
            compile(fence.text, f"from-{name}.md:{fence.line}", "exec")
