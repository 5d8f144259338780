"""examples/agent in a real browser, with its server killed while it writes and while it waits."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Browser, expect

from onward.supervisor.supervisor import bound
from tests.processes import ROOT, environment, wait_until
from tests.servers import free_port

AGENT = ROOT / "examples" / "agent"
MINUTE_MS = 60_000
pytestmark = pytest.mark.slow


class Server:
    """The served example, which is killed and started again at its address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}/"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(self._port)]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                bound(command), cwd=self._folder, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        wait_until(lambda: self._process.poll() is not None or self._answers())
        assert self._process.poll() is None, (self._folder / "server.log").read_text()

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)

    def ask(self, document: str, **variables: Any) -> Any:
        """Return the data of an operation's answer."""
        body = {"query": document, "variables": variables}
        answer = httpx2.post(f"{self.address}graphql", json=body, follow_redirects=True)
        return answer.raise_for_status().json()["data"]

    def _answers(self) -> bool:
        try:
            return httpx2.get(self.address).is_success
        except httpx2.TransportError:
            return False


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.kill()


def copied(folder: Path) -> Path:
    left_out = shutil.ignore_patterns("var", "__pycache__")
    return Path(shutil.copytree(AGENT, folder / "agent", ignore=left_out))


async def test_a_report_is_drafted_approved_and_sent_though_its_server_is_killed_twice(
    tmp_path: Path, browser: Browser
) -> None:
    folder = copied(tmp_path)
    with served(folder) as server:
        page = await browser.new_page()
        await page.goto(server.address)
        await page.get_by_label("Topic").fill("tides")
        await page.get_by_role("button", name="Write").click()
        sections = [page.get_by_role("article", name=f"Section {number}") for number in (1, 2, 3)]
        for section in sections:
            await expect(section).to_contain_text("about tides:")
        server.kill()
        server.start()
        approve = page.get_by_role("button", name="Approve and send")
        await expect(approve).to_be_visible(timeout=MINUTE_MS)
        texts = [" ".join((await section.inner_text()).split()) for section in sections]
        server.kill()
        server.start()
        await page.get_by_label("Comment").fill("Well done.")
        await approve.click()
        await expect(page.get_by_role("status")).to_have_text("sent", timeout=MINUTE_MS)
        await expect(approve).to_be_hidden()
        await page.close()
    (letter,) = (folder / "var" / "mail").iterdir()
    body = message_from_bytes(letter.read_bytes(), policy=policy.default).get_body(("plain",))
    assert body is not None
    sent = " ".join(str(body.get_content()).split())
    assert sent == " ".join(("tides", *texts, "Well done."))


async def test_a_report_whose_sections_are_cancelled_says_so(tmp_path: Path, browser: Browser) -> None:
    """Nothing follows a cancelled batch; the page must not wait for it."""
    folder = copied(tmp_path)
    slow = (folder / "report.py").read_text("utf-8").replace("milliseconds=60", "milliseconds=600")
    (folder / "report.py").write_text(slow, "utf-8")
    with served(folder) as server:
        page = await browser.new_page()
        await page.goto(server.address)
        await page.get_by_role("button", name="Write").click()
        await expect(page.get_by_role("article", name="Section 3")).to_contain_text("What")
        written = server.ask("query($id: ID!) { job(id: $id) { result } }", id=page.url.partition("#")[2])["job"]
        cancel = "mutation($input: CancelBatchInput!) { cancelBatch(input: $input) { errors { message } } }"
        assert server.ask(cancel, input={"id": written["result"]}) == {"cancelBatch": {"errors": []}}
        await expect(page.get_by_role("status")).to_have_text("The report was cancelled.", timeout=MINUTE_MS)
        await page.close()
