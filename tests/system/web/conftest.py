"""A real server, a real browser, and a record of blocked requests and errors."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.request import urlopen

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Route, async_playwright, expect

from onward.web import build
from onward.web.base import BuildFailed
from tests import application
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[3]
SERVE = (
    "import pathlib, sys; from onward.api import server as serving; from onward.config import settings; "
    "given = settings.load(pathlib.Path(sys.argv[1])); "
    "serving.run(given, serving.bind(given))"
)
QUIET = [  # a browser that keeps to itself: no updates, no reports; and no sandbox, which root cannot have
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
START_TIMEOUT_S = 60.0
WAIT_TIMEOUT_MS = 30_000  # with a machine that does other things besides
expect.set_options(timeout=WAIT_TIMEOUT_MS)


@dataclass
class Watched:
    """The page's requests to other origins, and its error messages."""

    page: Page
    abroad: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def missing(words: str) -> NoReturn:
    """Skip the test for a missing program; fail it under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with a project folder of its own."""
    project = tmp_path_factory.mktemp("project")
    application.write(
        project,
        '[schedule.leap]\nhandler = "steps.process_item"\ncron = "0 7 29 2 *"\nparams = {item = "a leap day"}\n',
    )
    port = free_port()
    environment = {**os.environ, "ONWARD_SERVER__PORT": str(port), "PYTHONPATH": str(ROOT)}
    log = project / "server.log"
    with log.open("wb") as words:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE, project], cwd=ROOT, env=environment, stdout=words, stderr=words
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(server, address, log)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def explorer_built() -> None:
    """Build the explorer, unless it is built."""
    built(build.EXPLORER)


@pytest.fixture(scope="session")
def console_built() -> None:
    """Build the console, unless it is built."""
    built(build.CONSOLE)


def built(bundle: build.Bundle) -> None:
    if not bundle.needed():
        return
    if not build.available():
        missing("needs npm: apt-get install nodejs npm")
    try:
        bundle.build()
    except BuildFailed as error:
        missing(f"needs the npm registry: {error}")


@pytest.fixture(scope="session")
def console_packages(console_built: None) -> Path:
    """Install the packages that work on the console needs, unless they are there; return their folder."""
    sources = build.CONSOLE.sources
    modules, npm = sources / "node_modules", shutil.which("npm")
    if npm is None:
        missing("needs npm: apt-get install nodejs npm")
    with (sources / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process waits here, then finds the work done
        mark = modules / ".bin" / "tsc"
        if not mark.exists() or mark.stat().st_mtime < os.fstat(lock.fileno()).st_mtime:
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=sources, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                missing(f"needs the packages of the console: {done.stderr[-500:]}")
    return modules


def chromium() -> str | None:
    """Return the program, if there is one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    program = chromium()
    if program is None:
        missing("needs Chromium: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        await browser.close()


@pytest.fixture
async def watched(browser: Browser, served: str) -> AsyncIterator[Watched]:
    """A fresh page that reaches our server alone, 1,280 pixels wide, and must have logged no error at its end."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(WAIT_TIMEOUT_MS)
    watched = Watched(await context.new_page())

    async def gate(route: Route) -> None:
        if route.request.url.startswith(served):
            await route.continue_()
        else:
            watched.abroad.append(route.request.url)
            await route.abort()

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            watched.complaints.append(message.text)

    await context.route("**/*", gate)
    watched.page.on("console", heard)
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    yield watched
    if not watched.page.is_closed():
        await watched.page.goto("about:blank")  # a page that asks on would have requests in between
        await watched.page.unroute_all(behavior="wait")
    await context.close()
    assert watched.abroad == []
    assert watched.complaints == []


def _wait(server: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(f"{address}/", timeout=1):
                return
        except OSError:  # refused, or not answered within the second
            time.sleep(0.05)
    pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")
