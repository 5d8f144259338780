"""Pages with Apollo and with urql, in a real browser: no job goes backwards, and each ends as the ledger has it."""

import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import httpx2
import jwt
import pytest
from anyio.to_thread import run_sync
from playwright.async_api import Browser, Page, Route, expect

from tests import application
from tests.processes import Running, running
from tests.servers import free_port
from tests.system.clients.conftest import MODULES, Run
from tests.system.typescript.network import Network, network

HERE = Path(__file__).resolve().parent
SECRET = "a secret of thirty-two characters"
END_TIMEOUT_MS = 180_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]  # the first of them may install packages


@pytest.fixture(scope="module")
def pages(node: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The pages, checked by TypeScript and built; their address."""
    folder = Path(shutil.copytree(HERE / "page", tmp_path_factory.mktemp("pages") / "page"))
    (folder / "node_modules").symlink_to(MODULES)
    for program in ("typescript/bin/tsc", "vite/bin/vite.js build"):
        command = ["node", *f"node_modules/{program}".split()]
        output = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        assert output.returncode == 0, output.stdout[-3000:] + output.stderr[-3000:]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder / "dist")) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def token(lasts_s: float) -> str:
    return jwt.encode({"sub": "ada", "exp": time.time() + lasts_s}, SECRET, "HS256")


class Server:
    """`onward serve`, which can be ended and killed, and comes back at the same port."""

    def __init__(self, project: Path, origin: str) -> None:
        self.port = free_port()
        self._project = project
        self._stack = ExitStack()
        self._running: Running | None = None
        shutil.copy(HERE / "slow.py", project)
        application.write(
            project,
            f'[server]\nport = {self.port}\norigins = ["{origin}"]\n[handlers]\nmodules = ["slow"]\n'
            f'[auth]\nmode = "jwt"\n[auth.jwt]\nsecret = "{SECRET}"\nleeway_s = 0\n',
        )

    async def start(self) -> None:
        self._running = self._stack.enter_context(running("serve", project=self._project))
        await run_sync(self._running.serving)

    async def end(self) -> None:
        assert self._running
        await run_sync(self._running.end)

    async def kill(self) -> None:
        assert self._running
        self._running.process.kill()
        await run_sync(self._running.process.wait)

    def jobs(self) -> dict[str, str]:
        """The version and the status of each job in the ledger."""
        answer = httpx2.post(
            f"http://127.0.0.1:{self.port}/graphql",
            json={"query": "{ jobs(first: 200) { nodes { id version status } } }"},
            headers={"authorization": f"Bearer {token(60)}"},
        ).json()
        return {job["id"]: f"{job['version']} {job['status']}" for job in answer["data"]["jobs"]["nodes"]}

    def close(self) -> None:
        self._stack.close()


@dataclass(frozen=True)
class Scene:
    """A page, its server, and the network between them."""

    page: Page
    server: Server
    network: Network

    async def send(self, count: int) -> None:
        await self.page.get_by_role("button", name=f"Send {count}", exact=True).click()

    async def ended(self, count: int) -> None:
        """Wait until so many rows have ended, and check all that they have shown."""
        answered = "count => document.querySelectorAll('li').length + window.refused.length === count"
        await self.page.wait_for_function(answered, arg=count, timeout=END_TIMEOUT_MS)
        assert await self.page.evaluate("window.refused") == []
        await expect(self.page.locator("[data-done=no]")).to_have_text([], timeout=END_TIMEOUT_MS)
        shown: dict[str, list[str]] = await self.page.evaluate("window.shown")
        ledger = self.server.jobs()
        assert {name.partition(" ")[2] for name in shown} == set(ledger)
        assert len(shown) == 2 * len(ledger) == 2 * count
        for name, states in shown.items():
            versions = [int(state.partition(" ")[0]) for state in states]
            assert versions == sorted(versions), f"{name} went backwards: {states}"
            assert states[-1] == ledger[name.partition(" ")[2]], name


@asynccontextmanager
async def opened(browser: Browser, pages: str, client: str, project: Path, **query: Any) -> AsyncIterator[Scene]:
    """Open the page of that client, with tokens of five seconds, and follow one job to its end."""
    server = Server(project, pages)
    await server.start()
    async with network(server.port) as (between, port):
        context = await browser.new_context()
        page = await context.new_page()
        await page.expose_function("mint", partial(token, 5))
        further = "".join(f"&{name}={value}" for name, value in query.items())
        await page.goto(f"{pages}/{client}.html?api=http://127.0.0.1:{port}/graphql{further}")
        scene = Scene(page, server, between)
        try:
            await scene.send(1)
            await expect(page.locator("[data-done=yes]")).to_have_count(1)
            yield scene
        finally:
            await context.close()
            server.close()


@pytest.mark.parametrize("client", ["apollo", "urql"])
async def test_each_of_20_jobs_is_followed_over_a_restart_and_a_cut_to_its_end(
    browser: Browser, pages: str, client: str, tmp_path: Path
) -> None:
    async with opened(browser, pages, client, tmp_path, ticks=8) as scene:
        await scene.send(20)
        scene.network.cut()
        await scene.server.end()
        await scene.server.start()
        await scene.ended(21)


@pytest.mark.parametrize("client", ["apollo", "urql"])
async def test_a_mutation_s_answer_that_comes_after_the_job_s_end_changes_nothing(
    browser: Browser, pages: str, client: str, tmp_path: Path
) -> None:
    """The subscription has had the last word on each job before the page hears of it."""

    async def hold(route: Route) -> None:
        if "mutation" not in (route.request.post_data or ""):
            await route.continue_()
            return
        answer = await route.fetch()
        job = (await answer.json())["data"]["slowCount"]["job"]["id"]
        while not (await run_sync(scene.server.jobs))[job].endswith("SUCCEEDED"):
            await anyio.sleep(0.1)
        await anyio.sleep(0.5)  # for the subscription
        await route.fulfill(response=answer)

    async with opened(browser, pages, client, tmp_path, ticks=1) as scene:
        await scene.page.route("**/graphql", hold)
        await scene.send(20)
        await scene.ended(21)


@pytest.mark.long
@pytest.mark.parametrize("run", range(10))
@pytest.mark.parametrize("client", ["apollo", "urql"])
async def test_each_of_80_jobs_is_followed_through_all_troubles_to_its_end(
    browser: Browser, pages: str, client: str, run: int, tmp_path: Path
) -> None:
    """Tokens of five seconds, SIGTERM, SIGKILL, and twenty seconds without a network."""
    async with opened(browser, pages, client, tmp_path, ticks=40) as scene:
        await scene.send(80)
        await anyio.sleep(2)
        await scene.server.end()
        await scene.server.start()
        await anyio.sleep(4)
        await scene.server.kill()
        await scene.server.start()
        await anyio.sleep(2)
        scene.network.silence()
        await anyio.sleep(20)
        scene.network.cut()
        await scene.ended(81)
