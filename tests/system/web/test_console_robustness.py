"""The console with hostile text, a lost connection, a token, a hidden tab, and viewers without rights."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Request, Route, WebSocketRoute, expect

from tests import application
from tests.processes import running
from tests.system.web.asking import ask, process
from tests.system.web.conftest import Watched
from tests.system.web.console_page import opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
ERROR = {"code": HOSTILE, "message": HOSTILE, "retryable": False, "step": HOSTILE, "occurredAt": "2026-01-01T00:00:00Z"}
JWT = '[server]\nport = 0\n[auth]\nmode = "jwt"\n[auth.jwt]\nsecret = "a secret of the test, long enough"\n'
CANCEL = "mutation($id: ID!) { cancelJob(input: {id: $id}) { errors { message } } }"
HIDE = "Object.defineProperty(document, 'hidden', {get: () => HIDDEN, configurable: true});"
HIDE += "document.dispatchEvent(new Event('visibilitychange'));"


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
        "#/": "Waiting now",
        "#/jobs": "Accepted after",
        f"#/jobs/{job}": "Steps",
        f"#/jobs/{quote(HOSTILE, safe='')}": "No such job",
        f"#/jobs?handler={quote(HOSTILE)}x": "No job",
    }
    for place, words in texts.items():
        await page.goto(f"{served}/{place}")
        await page.reload()
        await expect(page.get_by_text(words).filter(visible=True).first).to_be_visible()
        if not words.startswith("No job"):
            await expect(page.get_by_text(HOSTILE).filter(visible=True).first).to_be_visible()
        assert await page.locator("main img, main script").count() == 0


async def test_a_lost_connection_is_shown_and_polling_replaces_it(watched: Watched, served: str) -> None:
    page = watched.page

    async def refuse(socket: WebSocketRoute) -> None:
        await socket.close(code=1011)

    await page.route_web_socket(re.compile("/graphql"), refuse)
    await page.goto(f"{served}/#/jobs")
    await expect(page.locator("#connection")).to_contain_text("Not live")
    job = process(served, "without a socket")
    await expect(page.locator("table.jobs tbody tr").first).to_contain_text(job)
    await page.goto(f"{served}/#/jobs/{job}")
    await expect(page.locator("#job .head")).to_contain_text("Succeeded")


async def test_a_connection_that_falls_silent_is_opened_anew(watched: Watched, served: str) -> None:
    """A cut network closes nothing: the page would go on saying Live, without any change."""
    page, again, silent = watched.page, asyncio.Event(), False

    async def pass_on(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def passed_on(message: str | bytes) -> None:
            if not silent:
                socket.send(message)

        if silent:
            again.set()
        else:
            server.on_message(passed_on)

    await page.clock.install()
    await page.route_web_socket(re.compile("/graphql"), pass_on)
    await opened(watched, served)
    silent = True
    await page.clock.fast_forward(20_000)  # to the ping
    await page.clock.fast_forward(10_000)
    await asyncio.wait_for(again.wait(), timeout=30)
    await expect(page.locator("#connection")).to_have_text("Live")


async def test_a_list_that_could_not_be_loaded_is_asked_for_again(watched: Watched, served: str) -> None:
    """The ledger is away for a moment, which closes no socket."""
    page = await opened(watched, served)
    errors = iter([{"message": "The ledger is away.", "extensions": {"code": "UNAVAILABLE"}}])

    async def answer(route: Route) -> None:
        error = next(errors, None) if "query jobs(" in (route.request.post_data or "") else None
        await (route.continue_() if error is None else route.fulfill(json={"errors": [error]}))

    job = process(served, "before the outage")
    await page.route("**/graphql", answer)
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Jobs", exact=True).click()
    await expect(page.locator("#notice")).to_contain_text("The ledger is away.")
    await expect(page.locator("table.jobs tbody tr").filter(has_text=job)).to_be_visible()
    await expect(page.locator("#notice")).to_be_hidden()


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


async def test_a_hidden_tab_asks_nothing_and_catches_up_when_it_is_shown(watched: Watched, served: str) -> None:
    page, unanswered = watched.page, set[Request]()
    page.on("request", lambda request: unanswered.update({request}))
    for end in ("requestfinished", "requestfailed"):
        page.on(end, lambda request: unanswered.difference_update({request}))
    await opened(watched, served, "#/jobs?handler=steps.process_item")
    await expect(page.locator("main section").first).to_be_visible()
    await page.evaluate(HIDE.replace("HIDDEN", "true"))
    while unanswered:  # what was asked before may be answered with the job of below
        await page.wait_for_timeout(50)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    job = process(served, "while nobody looks")
    await page.wait_for_timeout(6_000)
    assert asked == []
    await expect(page.locator("table.jobs tbody tr").filter(has_text=job)).to_have_count(0)
    await page.evaluate(HIDE.replace("HIDDEN", "false"))
    await expect(page.locator("table.jobs tbody tr").first).to_contain_text(job)
    await expect(page.locator("#connection")).to_have_text("Live")


async def test_an_older_page_and_a_page_with_the_focus_catch_up_too(watched: Watched, served: str) -> None:
    """Changes of the time in which the tab was hidden do not come by the socket."""
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    ids = [process(served, f"item {number}", runAt=soon) for number in range(30)]
    page = await opened(watched, served, "#/jobs?handler=steps.process_item")
    rows = page.locator("table.jobs tbody tr")
    await expect(rows.first).to_contain_text(ids[-1])
    await rows.nth(3).get_by_role("link").focus()
    await page.evaluate(HIDE.replace("HIDDEN", "true"))
    job = process(served, "while nobody looks", runAt=soon)
    await page.evaluate(HIDE.replace("HIDDEN", "false"))
    await expect(rows.first).to_contain_text(job)
    await page.get_by_role("button", name="Older", exact=True).click()
    await expect(rows.first).to_contain_text(ids[-25])
    await page.evaluate(HIDE.replace("HIDDEN", "true"))
    ask(served, CANCEL, id=ids[-25])
    await page.evaluate(HIDE.replace("HIDDEN", "false"))
    await expect(rows.first).to_contain_text("Cancelled")


async def test_whole_numbers_keep_every_digit(watched: Watched, served: str) -> None:
    """JavaScript's own parser rounds numbers beyond 2^53; fractions and small numbers stay as they were."""
    page = watched.page
    job = process(served, "numbers")
    numbers = '{"big": 12345678901234567890, "less": -9007199254740993, "small": 7, "part": 1.5}'

    async def replaced(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(
            response=answer, body=re.sub(r'"result":(null|\{[^}]*\})', f'"result":{numbers}', await answer.text())
        )

    async def cut(_socket: WebSocketRoute) -> None:
        """Cut off changes, so that the page shows answers to its queries only."""

    await page.route(f"{served}/graphql", replaced)
    await page.route_web_socket(re.compile("/graphql"), cut)
    await page.goto(f"{served}/#/jobs/{job}")
    shown = page.get_by_role("region", name="Result").last
    for line in ('"big": 12345678901234567890', '"less": -9007199254740993', '"small": 7', '"part": 1.5'):
        await expect(shown).to_contain_text(line)


async def test_what_was_typed_stays_while_a_token_has_run_out(watched: Watched, served: str) -> None:
    """For the same person alone: another one begins with an empty page."""
    page, expired, name = watched.page, False, "ada"

    async def answer(route: Route) -> None:
        if expired:
            error = {"message": "The token has expired.", "extensions": {"code": "NOT_AUTHENTICATED"}}
            await route.fulfill(json={"errors": [error]})
            return
        response = await route.fetch()
        content = await response.json()
        if "viewer" in (content.get("data") or {}):
            content["data"]["viewer"] = {"id": name, "roles": ["admin"]}
        await route.fulfill(response=response, body=json.dumps(content))

    await page.route("**/graphql", answer)
    await opened(watched, served, "#/send/processItem")
    field = page.get_by_label("item")
    await field.fill("half a page of words")
    expired = True
    await expect(page.locator("#notice")).to_contain_text("answers only with an access token")
    await expect(page.locator("main button:visible, main textarea:visible")).to_have_count(0)
    expired = False
    await expect(field).to_be_visible()
    await expect(field).to_have_value("half a page of words")
    name = "eve"
    await expect(page.locator("footer")).to_contain_text("You are eve")
    await expect(field).to_have_value("")


async def test_without_a_token_no_refused_action_is_offered(browser: Browser, tmp_path: Path) -> None:
    application.write(tmp_path, JWT)
    with running("serve", project=tmp_path) as api:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{api.serving()}/")
        await expect(page.locator("#notice")).to_contain_text("answers only with an access token")
        await expect(page.locator("main button:visible, main input:visible")).to_have_count(0)
        await expect(page.get_by_role("button", name="Token")).to_be_visible()
        await context.close()
