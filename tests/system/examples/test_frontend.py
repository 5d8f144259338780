"""examples/frontend, built as its README says, in a real browser against a running server, without the internet."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from playwright.async_api import Browser, Page, Route, expect

from onward.supervisor.supervisor import bound
from tests import application
from tests.processes import ROOT, WAIT_TIMEOUT_S, environment, running
from tests.servers import free_port
from tests.system.clients.conftest import MODULES, PACKAGE, Run

EXAMPLE = ROOT / "examples" / "frontend"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]  # the first of them may install packages


class ReceivedMail(Message):
    """The received messages."""

    def __init__(self) -> None:
        super().__init__()
        self.to: list[str] = []

    def handle_message(self, message: object) -> None:
        self.to.append(str(message["To"]))  # type: ignore[index]


@pytest.fixture(scope="module")
def built(node: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the example with `npm run build`, on the packages of tests/system/clients, which are the same."""
    root = tmp_path_factory.mktemp("repository")
    left_out = shutil.ignore_patterns("node_modules", "dist", "made")
    folder = Path(shutil.copytree(EXAMPLE, root / "examples" / "frontend", ignore=left_out))
    (root / "gql").mkdir()
    shutil.copy(ROOT / "gql" / "schema.graphql", root / "gql")
    (folder / "node_modules").symlink_to(MODULES)
    build = ["npm", "run", "build"]
    output = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert output.returncode == 0, output.stdout[-3000:] + output.stderr[-3000:]
    return folder


@contextmanager
def vite(built: Path, api: str, *command: str) -> Iterator[str]:
    """Serve the page by `npm run preview`, or during development by `npm run dev`; return its address."""
    port = free_port()
    program = ["node", "node_modules/vite/bin/vite.js", *command, "--strictPort", "--host", "127.0.0.1", "--port"]
    said_in = built / f"{'-'.join(command) or 'dev'}.log"
    with said_in.open("wb") as log:
        process = subprocess.Popen(
            bound([*program, str(port)]),
            cwd=built,
            env=environment(ONWARD_URL=api, BOOKSHOP_URL=api),
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + WAIT_TIMEOUT_S
        while "Local" not in (said := said_in.read_text()):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(WAIT_TIMEOUT_S)


@pytest.fixture(scope="module")
def smtp_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def address(built: Path, smtp_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, and a server whose mail server is away until a test starts it."""
    project = tmp_path_factory.mktemp("onward")
    application.write(project, f'[server]\nport = 0\n[email]\ntransport = "smtp"\n[email.smtp]\nport = {smtp_port}\n')
    with running("serve", project=project) as api, vite(built, api.serving(), "preview") as page:
        yield page


@pytest.fixture
async def page(browser: Browser, address: str) -> AsyncIterator[Page]:
    """The page on a phone. At its end it must have called no other server and logged no error."""
    context = await browser.new_context(viewport={"width": 400, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    page, wrong = await context.new_page(), []

    async def gate(route: Route) -> None:
        if route.request.url.startswith(address):
            await route.continue_()
        else:
            wrong.append(route.request.url)
            await route.abort()

    await context.route("**/*", gate)
    page.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.goto(address)
    yield page
    await context.close()
    assert wrong == []


async def register(page: Page, username: str, email: str) -> None:
    await page.get_by_label("Username").fill(username)
    await page.get_by_label("E-mail").fill(email)
    await page.keyboard.press("Enter")


async def test_a_job_is_followed_live_from_an_absent_mail_server_to_its_end(page: Page, smtp_port: int) -> None:
    """The page is not reloaded in between, and says why the job waits."""
    await register(page, "ada", "ada@example.org")
    letter = page.get_by_role("listitem").filter(has_text="ada")
    await expect(letter).to_contain_text("Will be tried again")
    await expect(letter).to_contain_text("It waits for")
    await expect(letter.get_by_role("progressbar")).to_be_visible()
    await expect(page.get_by_label("Username")).to_have_value("")
    received = ReceivedMail()
    mail_server = Controller(received, hostname="127.0.0.1", port=smtp_port)
    mail_server.start()
    try:
        await expect(letter.get_by_role("status")).to_have_text("Sent", timeout=60_000)
    finally:
        mail_server.stop()
    await expect(letter.get_by_role("progressbar")).to_have_count(0)
    assert received.to == ["ada@example.org"]


async def test_an_error_is_shown_at_its_field_and_can_be_corrected(page: Page) -> None:
    await register(page, "grace", "nobody")
    email = page.get_by_label("E-mail")
    await expect(email).to_have_attribute("aria-invalid", "true")
    await expect(email).to_have_accessible_description(re.compile("This is not an e-mail address"))
    await expect(email).to_be_focused()
    await expect(page.get_by_role("listitem")).to_have_count(0)
    await register(page, "grace", "grace@example.org")
    await expect(page.get_by_role("listitem").filter(has_text="grace")).to_have_count(1)
    await expect(email).to_have_attribute("aria-invalid", "false")


async def test_a_lost_answer_is_requested_again_without_a_second_job(page: Page) -> None:
    """The first answer is dropped on its way back; the page sends the same key again, and gets the same job."""
    dropped = []

    async def drop(route: Route) -> None:
        answer = await route.fetch()
        dropped.append(await answer.json())
        await route.fulfill(status=200, content_type="application/json", body="")

    await page.context.route("**/graphql", drop, times=1)
    await register(page, "linus", "linus@example.org")
    letter = page.get_by_role("listitem").filter(has_text="linus")
    await expect(letter).to_have_count(1)
    await expect(letter).to_contain_text(dropped[0]["data"]["registerUser"]["job"]["id"])


async def test_a_changed_query_reloads_the_page_with_new_types(built: Path, browser: Browser, tmp_path: Path) -> None:
    """Development (`npm run dev`) needs it; the page shows the error of a wrong query until it is corrected."""
    application.write(tmp_path, "[server]\nport = 0\n")
    card = built / "src" / "JobCard.tsx"
    was = card.read_text("utf-8")
    changed = was.replace("      waitingFor\n", "      waitingFor\n      backend\n", 1)
    changed = changed.replace("<code>{id}</code>", "<code>{id} by {job?.backend}</code>")
    with running("serve", project=tmp_path) as api, vite(built, api.serving()) as address:
        page = await browser.new_page()
        await page.goto(address)
        await expect(page.get_by_label("Username")).to_be_visible()
        card.write_text(changed.replace("      backend\n", "      backent\n"), "utf-8")
        await expect(page.locator("vite-error-overlay")).to_contain_text("backent")
        card.write_text(changed, "utf-8")
        await expect(page.locator("vite-error-overlay")).to_have_count(0)
        await register(page, "ada", "ada@example.org")
        await expect(page.get_by_role("listitem")).to_contain_text("by background")
        await page.close()
    card.write_text(was, "utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
async def test_the_page_fits_a_phone_and_a_desktop_in_light_and_dark(
    page: Page, width: int, scheme: str, tmp_path: Path
) -> None:
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.set_viewport_size({"width": width, "height": 800})
    await register(page, f"{scheme}{width}", f"{scheme}{width}@example.org")
    await expect(page.get_by_role("listitem")).to_have_count(1)
    await expect(page.get_by_role("listitem")).to_contain_text("tried again")
    await register(page, "x" * 65, "nobody")
    await expect(page.get_by_label("Username")).to_have_attribute("aria-invalid", "true")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)


def test_the_example_s_packages_are_the_tested_ones() -> None:
    """The lock of the example is a part of that of the tests: the same versions, by their digests."""
    mine, tested = (
        json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"]
        for folder in (EXAMPLE, MODULES.parent)
    )
    named = json.loads((EXAMPLE / "package.json").read_text("utf-8"))
    root, link = mine.pop(""), mine.pop("node_modules/onward-client")
    assert link == {"resolved": "../../clients/typescript", "link": True}
    named_in_link = json.loads((PACKAGE / "package.json").read_text("utf-8"))
    assert mine.pop(link["resolved"])["devDependencies"] == named_in_link["devDependencies"]
    assert (root["dependencies"], root["devDependencies"]) == (named["dependencies"], named["devDependencies"])
    known = {(path.rpartition("node_modules/")[2], package.get("integrity")) for path, package in tested.items()}
    other = [
        path
        for path, package in mine.items()
        if (path.rpartition("node_modules/")[2], package["integrity"]) not in known
    ]
    assert other == []
    assert not any("resolved" in package for package in mine.values())
