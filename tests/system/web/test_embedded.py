"""The pages where another application has mounted them, behind a path that it does not know of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.async_api import Browser, expect

from tests.embedded.project import WRAP, write
from tests.processes import graphql
from tests.system.test_embedded import served as serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]


@pytest.fixture
def stripped(tmp_path: Path, sqlite_ledger: str) -> Iterator[tuple[str, str]]:
    """Return the application's own address, and its address behind a proxy that strips a path from requests."""
    write(tmp_path, sqlite_ledger)
    with serving("uvicorn", tmp_path) as (_, address):

        class Proxy(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("content-length", 0))
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                with suppress(OSError), closing(HTTPConnection(address.removeprefix("http://"))) as upstream:
                    upstream.request(self.command, self.path.removeprefix("/shop"), self.rfile.read(length), headers)
                    answer = upstream.getresponse()
                    body = answer.read()
                    self.send_response(answer.status)
                    for name in ("content-type", "content-security-policy"):
                        if value := answer.headers.get(name):
                            self.send_header(name, value)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - named by the standard library

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
            Thread(target=proxy.serve_forever, daemon=True).start()
            yield address, f"http://127.0.0.1:{proxy.server_port}/shop"
            proxy.shutdown()


async def test_the_console_lists_jobs_at_its_mount_and_behind_a_proxy(
    browser: Browser, stripped: tuple[str, str]
) -> None:
    graphql(stripped[0], WRAP, label="a parcel")
    for address in stripped:
        for path in ("/jobs", "/jobs/"):
            page = await browser.new_page()
            await page.goto(f"{address}{path}#/jobs")
            await expect(page.get_by_role("row").filter(has_text="parcels.wrap")).to_be_visible()
            if address == stripped[0]:  # the proxy of this test lets no WebSocket through
                await expect(page.locator("#connection")).to_have_attribute("data-state", "live")
            await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Overview").click()
            await expect(page.get_by_role("heading", name="Jobs per minute")).to_be_visible()
            await page.close()
