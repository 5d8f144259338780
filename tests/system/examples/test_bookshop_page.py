"""The page of examples/bookshop, built as its README says, in a real browser against the served bookshop."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.async_api import Browser, expect

from onward.supervisor.supervisor import bound
from tests.processes import environment, wait_until
from tests.servers import free_port
from tests.system.clients.conftest import MODULES, Run
from tests.system.examples.test_bookshop import BOOKSHOP, bookshop
from tests.system.examples.test_frontend import vite

__all__ = ["bookshop"]
GLUE = ("onward.ts", "Confirmation.tsx")
MAX_GLUE_LINES = 19
pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]  # the first of them may install packages


def run(folder: Path, *command: str) -> str:
    output = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert output.returncode == 0, output.stdout[-3000:] + output.stderr[-3000:]
    return output.stdout


@pytest.fixture
def built(node: Run, bookshop: Path) -> Path:
    """The page, on the packages of tests/system/clients, which are the same."""
    page = bookshop / "page"
    readme = (BOOKSHOP / "README.md").read_text("utf-8")
    (program,) = re.findall(r'^python -c "(.*)" > page/schema\.graphql', readme, re.MULTILINE)
    (page / "schema.graphql").write_text(run(bookshop, sys.executable, "-c", program), "utf-8")
    (page / "node_modules").symlink_to(MODULES)
    run(page, "npm", "run", "build")
    return page


@pytest.fixture
def address(bookshop: Path) -> Iterator[str]:
    """The served bookshop."""
    run(bookshop, sys.executable, "-m", "bookshop")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bookshop.main:app", "--port", str(port)]
    with (bookshop / "server.log").open("wb") as log:
        process = subprocess.Popen(bound(command), cwd=bookshop, env=environment(), stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or answers(port))
        assert process.poll() is None, (bookshop / "server.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/jobs/").is_success
    except httpx2.TransportError:
        return False


async def test_an_order_is_followed_live_to_its_confirmation(
    built: Path, address: str, bookshop: Path, browser: Browser
) -> None:
    """The mail cannot leave at first; the page is not reloaded in between."""
    letters = bookshop / "var" / "mail"
    letters.touch()  # no folder, so that no message can be written
    with vite(built, address, "preview") as there:
        page = await browser.new_page()
        await page.goto(there)
        await expect(page.get_by_role("button", name="Order").first).to_be_disabled()
        await page.get_by_label("E-mail").fill("ada@example.org")
        await page.get_by_label("Password").fill("correct horse")
        await page.get_by_role("button", name="Register").click()
        await expect(page.get_by_text("Signed in as ada@example.org.")).to_be_visible()
        await page.get_by_role("listitem").filter(has_text="Middlemarch").get_by_role("button").click()
        order = page.get_by_role("listitem").filter(has_text="Order 1")
        await expect(order.get_by_role("status")).to_have_text("Being confirmed")
        letters.unlink()
        await expect(order.get_by_role("status")).to_have_text("Confirmed", timeout=60_000)
        await page.close()
    (letter,) = letters.iterdir()
    assert "To: ada@example.org" in letter.read_text()


def test_the_glue_has_fewer_than_twenty_lines() -> None:
    texts = [(BOOKSHOP / "page" / "src" / name).read_text("utf-8") for name in GLUE]
    assert len([line for line in "".join(texts).splitlines() if line.strip()]) <= MAX_GLUE_LINES


def test_the_page_s_packages_are_the_tested_ones() -> None:
    mine, tested = (
        json.loads((folder / "package.json").read_text("utf-8")) for folder in (BOOKSHOP / "page", MODULES.parent)
    )
    named = {**mine["dependencies"], **mine["devDependencies"]}
    assert named.pop("onward-client").startswith("file:onward-client-")
    assert named.items() <= tested["dependencies"].items()
