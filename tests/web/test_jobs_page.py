"""The jobs page in a real browser: each form to its end, the table, a job's own view, and text that stays text."""

import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from playwright.async_api import Locator, Page, Route, WebSocketRoute, expect

from tests.web.conftest import Watched

pytestmark = pytest.mark.timeout(180)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def ask(served: str, query: str, **variables: object) -> dict[str, object]:
    """The data of an answer over HTTP, for what a test prepares."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = Request(f"{served}/graphql", data=body, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as answer:
        told = json.load(answer)
    assert "errors" not in told, told
    data: dict[str, object] = told["data"]
    return data


def process(served: str, item: str, **more: object) -> str:
    """The id of a new job that processes an item."""
    mutation = "mutation($input: ProcessItemInput!) { processItem(input: $input) { job { id } errors { message } } }"
    data = ask(served, mutation, input={"item": item, **more})
    return str(data["processItem"]["job"]["id"])  # type: ignore[index]


async def opened(watched: Watched, served: str, place: str = "") -> Page:
    await watched.page.goto(f"{served}/{place}")
    await expect(watched.page.locator("#connection")).to_have_text("Live")
    return watched.page


def followed(page: Page) -> Locator:
    """The job that was sent last."""
    return page.locator("#follow li[data-job]").first


async def test_registering_a_user_is_followed_to_its_end(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Register").click()
    form = page.get_by_role("tabpanel")
    await form.get_by_label("Username").fill("grace")
    await form.get_by_label("E-mail").fill("grace@example.com")
    await page.keyboard.press("Enter")
    await expect(followed(page)).to_contain_text("email.welcome")
    await expect(followed(page)).to_contain_text("Succeeded")
    await expect(form.get_by_label("Username")).to_have_value("")


async def test_a_notification_is_followed_to_its_end(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Notify").click()
    await page.get_by_role("button", name="Send notification").click()
    await expect(followed(page)).to_contain_text("logging.write")
    await expect(followed(page)).to_contain_text("Succeeded")


async def test_an_item_is_followed_step_by_step(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Process").click()
    await page.get_by_role("button", name="Process item").click()
    for step in ("validate", "analyse", "store"):
        await expect(followed(page).get_by_role("listitem").filter(has_text=step)).to_contain_text("succeeded")
    await expect(page.locator("table.jobs tbody tr").first).to_contain_text("Succeeded")


async def test_what_is_wrong_is_said_at_its_field(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Register").click()
    form = page.get_by_role("tabpanel")
    await form.get_by_label("Username").fill("lin")
    await form.get_by_label("E-mail").fill("nobody")
    await form.get_by_role("button", name="Register user").click()
    await expect(form.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    await expect(form.get_by_label("E-mail")).to_be_focused()
    await expect(form.get_by_label("E-mail")).to_have_accessible_description(re.compile(r"\w+"))
    await expect(followed(page)).to_have_count(0)


async def test_the_tabs_are_walked_with_the_arrow_keys(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Register").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Notify")).to_be_focused()
    await expect(page.get_by_role("button", name="Send notification")).to_be_visible()


async def test_the_table_is_filtered_by_status_and_handler(watched: Watched, served: str) -> None:
    failed = process(served, "bell \u0007")
    process(served, "fine")
    page = await opened(watched, served)
    rows = page.locator("table.jobs tbody tr")
    await page.get_by_role("button", name=re.compile("Failed")).click()
    await expect(rows.filter(has_text=failed)).to_be_visible()
    await expect(rows.filter(has_text="Succeeded")).to_have_count(0)
    assert "status=FAILED" in page.url
    await page.get_by_label("Handler; *").fill("email.*")
    await expect(page.get_by_text("No job matches this filter.")).to_be_visible()
    await page.get_by_label("Handler; *").fill("steps.*")
    await expect(rows.filter(has_text=failed)).to_be_visible()
    await page.get_by_role("button", name="Clear").click()
    await expect(rows.filter(has_text="Succeeded").first).to_be_visible()


async def test_pages_are_turned_in_both_directions(watched: Watched, served: str) -> None:
    ids = [process(served, f"item {number}") for number in range(60)]
    page = await opened(watched, served, "#/?handler=steps.process_item")
    rows = page.locator("table.jobs tbody tr")
    await expect(rows.first).to_contain_text(ids[-1])
    await expect(rows).to_have_count(25)
    await page.get_by_role("button", name="Older").click()
    await expect(rows.first).to_contain_text(ids[-26])
    await page.get_by_role("button", name="Older").click()
    await expect(rows.first).to_contain_text(ids[-51])
    await page.get_by_role("button", name="Newer").click()
    await expect(rows.first).to_contain_text(ids[-26])
    await page.get_by_role("button", name="Newest").click()
    await expect(rows.first).to_contain_text(ids[-1])


async def test_a_scheduled_job_is_cancelled(watched: Watched, served: str) -> None:
    job = process(served, "later", runAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.get_by_text(re.compile("Waiting for its time"))).to_be_visible()
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_role("dialog").get_by_label("Reason (optional)").fill("changed my mind")
    await page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    await expect(page.locator("#job .head")).to_contain_text("Cancelled")
    await expect(page.get_by_role("button", name="Cancel…")).to_be_hidden()


async def test_a_failed_job_is_retried(watched: Watched, served: str) -> None:
    job = process(served, "bell \u0007")
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.locator("#job .head")).to_contain_text("Failed")
    attempts = page.locator("table.attempts tbody tr")
    await expect(attempts).to_have_count(1)
    await page.get_by_role("button", name="Retry", exact=True).click()
    await expect(attempts).to_have_count(2)
    await expect(page.locator("#job .head")).to_contain_text("Failed")
    await page.get_by_role("button", name="Retry from start").click()
    await expect(attempts).to_have_count(3)


async def test_all_that_match_are_retried(watched: Watched, served: str) -> None:
    job = process(served, "bell \u0007")
    page = await opened(watched, served, "#/?status=FAILED")
    await expect(page.locator("table.jobs tbody tr").filter(has_text=job)).to_be_visible()
    await page.get_by_role("button", name="Retry all that match…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retry them").click()
    await expect(page.get_by_role("alert")).to_contain_text(re.compile(r"\d+ jobs? retried"))
    await page.goto(f"{served}/#/jobs/{job}")
    await expect(page.locator("table.attempts tbody tr")).to_have_count(2)


async def test_hostile_words_stay_text(watched: Watched, served: str) -> None:
    page = watched.page

    async def hostile(route: Route) -> None:
        answer = await route.fetch()
        body = re.sub(r'"(validate|steps\.process_item|background)"', json.dumps(HOSTILE), await answer.text())
        await route.fulfill(response=answer, body=body.replace('"error":null', f'"error":{json.dumps(ERROR)}'))

    async def cut(_socket: WebSocketRoute) -> None:
        """No changes: what is shown is what was asked."""

    job = process(served, HOSTILE)
    await page.route(f"{served}/graphql", hostile)
    await page.route_web_socket(re.compile("/graphql"), cut)
    places = {
        "": "Backends",
        f"#/jobs/{job}": "Steps",
        f"#/jobs/{quote(HOSTILE, safe='')}": "No such job",
        f"#/?handler={HOSTILE}": "No job",
    }
    for place, words in places.items():
        await page.goto(f"{served}/{place}")
        await page.reload()
        await expect(page.get_by_text(words).filter(visible=True).first).to_be_visible()
        if place != f"#/?handler={HOSTILE}":
            await expect(page.get_by_text(HOSTILE).filter(visible=True).first).to_be_visible()
        assert await page.locator("main img, main script").count() == 0


async def test_a_lost_connection_is_said_and_asking_stands_in(watched: Watched, served: str) -> None:
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
    async with page.expect_request(f"{served}/graphql") as asked:
        await page.get_by_role("dialog").get_by_role("button", name="Use it").click()
    assert (await (await asked.value).all_headers())["authorization"] == "Bearer a.b.c"
    assert await page.evaluate("[localStorage.length, document.cookie, location.href.includes('a.b.c')]") == [
        0,
        "",
        False,
    ]


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_runs_over_the_edge(watched: Watched, served: str, width: int, scheme: str) -> None:
    page = watched.page
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.set_viewport_size({"width": width, "height": 900})
    job = process(served, "word " * 200)
    for place in ("", f"#/jobs/{job}"):
        await opened(watched, served, place)
        await page.reload()
        await page.wait_for_timeout(500)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


ERROR = {"code": HOSTILE, "message": HOSTILE, "retryable": False, "step": HOSTILE, "occurredAt": "2026-01-01T00:00:00Z"}
