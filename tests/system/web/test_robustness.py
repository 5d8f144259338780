"""Hostile text, a lost connection, a token, narrow windows."""

import json
import re
from urllib.parse import quote

import pytest
from playwright.async_api import Route, WebSocketRoute, expect

from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import followed, opened, process

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
ERROR = {"code": HOSTILE, "message": HOSTILE, "retryable": False, "step": HOSTILE, "occurredAt": "2026-01-01T00:00:00Z"}


async def test_hostile_text_stays_text(watched: Watched, served: str) -> None:
    page = watched.page

    async def hostile(route: Route) -> None:
        answer = await route.fetch()
        body = re.sub(r'"(validate|steps\.process_item|background)"', json.dumps(HOSTILE), await answer.text())
        await route.fulfill(response=answer, body=body.replace('"error":null', f'"error":{json.dumps(ERROR)}'))

    async def cut(_socket: WebSocketRoute) -> None:
        """Cut off changes, so that the page shows answers to its queries only."""

    job = process(served, HOSTILE)
    await page.route(f"{served}/graphql", hostile)
    await page.route_web_socket(re.compile("/graphql"), cut)
    texts = {
        "": "Backends",
        f"#/jobs/{job}": "Steps",
        f"#/jobs/{quote(HOSTILE, safe='')}": "No such job",
        f"#/?handler={HOSTILE}": "No job",
    }
    for place, words in texts.items():
        await page.goto(f"{served}/{place}")
        await page.reload()
        await expect(page.get_by_text(words).filter(visible=True).first).to_be_visible()
        if place != f"#/?handler={HOSTILE}":
            await expect(page.get_by_text(HOSTILE).filter(visible=True).first).to_be_visible()
        assert await page.locator("main img, main script").count() == 0


async def test_a_lost_connection_is_shown_and_polling_replaces_it(watched: Watched, served: str) -> None:
    page = watched.page

    async def refuse(socket: WebSocketRoute) -> None:
        await socket.close(code=1011)

    await page.route_web_socket(re.compile("/graphql"), refuse)
    await page.goto(served)
    await expect(page.locator("#connection")).to_contain_text("Not live")
    await page.get_by_role("tab", name="Process").click()
    await page.get_by_role("button", name="Process item").click()
    await expect(followed(page)).to_contain_text("Succeeded")


async def test_the_token_is_kept_for_the_tab_and_sent_as_a_header(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("button", name="Token").click()
    await page.get_by_label("Bearer token").fill("a.b.c")
    async with page.expect_request(lambda request: "authorization" in request.headers) as asked:
        await page.get_by_role("dialog").get_by_role("button", name="Use it").click()
    assert (await (await asked.value).all_headers())["authorization"] == "Bearer a.b.c"
    assert await page.evaluate("[localStorage.length, document.cookie, location.href.includes('a.b.c')]") == [
        0,
        "",
        False,
    ]


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_content_overflows_the_page(watched: Watched, served: str, width: int, scheme: str) -> None:
    page = watched.page
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.set_viewport_size({"width": width, "height": 900})
    job = process(served, "word " * 200)
    for place in ("", f"#/jobs/{job}"):
        await opened(watched, served, place)
        await page.reload()
        await page.wait_for_timeout(500)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_the_jobs_that_another_viewer_sees_are_not_counted_as_new(watched: Watched, served: str) -> None:
    """Without a connection the growth of the counts stands in for changes."""
    page = await opened(watched, served)
    found = await page.evaluate(
        """async () => {
          const { Rates } = await import('./static/jobs/rates.js');
          const rates = new Rates();
          for (const [number, viewer] of [[0, 'nobody'], [900, 'ada'], [902, 'ada'], [5, 'bob']])
            rates.seeCounts({ SUCCEEDED: number }, false, viewer);
          return rates.last(2).reduce((sum, minute) => sum + minute.accepted, 0);
        }"""
    )
    assert found == 2
