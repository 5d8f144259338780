"""The console's pages of failures and batches, and its forms of mutations."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from playwright.async_api import Page, Route, WebSocketRoute, expect

from tests.integration.graphql.conftest import serving, settings_in
from tests.integration.graphql.test_viewers import header, jwt_settings
from tests.system.web import console_handlers
from tests.system.web.asking import ask, process
from tests.system.web.conftest import Watched
from tests.system.web.console_page import another_server, no_findings, opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]
MODULES = {
    "handlers": {"modules": [console_handlers.__name__]},
    "secrets": {"keys": [Fernet.generate_key().decode()]},
}
CALL = "mutation($input: WorkCallInput!) { workCall(input: $input) { job { id } } }"
ALL = "mutation($input: WorkAllInput!) { workAll(input: $input) { job { id } } }"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(settings_in(tmp_path_factory.mktemp("project"), **MODULES)) as address:
        yield f"http://{address}"


def call(served: str, code: str, gate: Path, *, later: bool = False) -> None:
    ask(served, CALL, input={"code": code, "openWhen": str(gate), "later": later})


def wait_for(served: str, **wanted: object) -> None:
    """Wait until as many jobs match."""
    count = "query($filter: JobFilter!) { jobCount(filter: $filter) }"
    number = wanted.pop("number")
    while ask(served, count, filter=wanted)["jobCount"] != number:
        pass


def group(page: Page, code: str) -> Any:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=code, exact=True))


async def test_the_jobs_of_an_error_are_retried_together(
    watched: Watched, served: str, tmp_path: Path, console_packages: Path
) -> None:
    """The dialog counts them before, and retries only those that are failed still."""
    gate = tmp_path / "gate"
    for _ in range(3):
        call(served, "E503", gate)
    call(served, "E404", gate)
    wait_for(served, status=["FAILED"], errorCode=["E503", "E404"], number=4)
    page = await opened(watched, served, "#/failures?range=day")
    row = group(page, "E503")
    await expect(row).to_contain_text("no answer from the service")
    await expect(row.locator(".at-count")).to_have_text("3")
    await expect(row.get_by_role("img")).to_have_accessible_name(re.compile("3 failures, most of them towards the end"))
    await no_findings(page, console_packages)
    await page.set_viewport_size({"width": 1280, "height": 900})
    gate.touch()
    await row.get_by_role("button", name="Retry…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("3 jobs will be retried.")
    await no_findings(page, console_packages)
    await dialog.get_by_role("button", name="Retry 3 jobs").click()
    await expect(dialog).to_contain_text("3 jobs retried.")
    await dialog.get_by_role("button", name="Close").click()
    await expect(row.get_by_role("button", name="Retry…")).to_be_focused()
    wait_for(served, status=["SUCCEEDED"], handler=["work.call"], number=3)
    await row.get_by_role("button", name="Retry…").click()
    await expect(dialog).to_contain_text("None of these jobs is failed or cancelled now.")
    await page.keyboard.press("Escape")
    wait_for(served, status=["FAILED"], errorCode=["E404"], number=1)


async def test_a_retry_of_many_jobs_shows_how_far_it_is_and_can_be_stopped(
    watched: Watched, served: str, tmp_path: Path
) -> None:
    """A retry goes on in pieces; what is done stays done."""
    ask(served, ALL, input={"codes": ["MANY"] * 450, "openWhen": str(tmp_path / "gate")})
    wait_for(served, status=["FAILED"], errorCode=["MANY"], number=450)
    page = await opened(watched, served, "#/failures")
    turns = [asyncio.Event() for _ in range(3)]
    waiting = iter(turns)

    async def hold(route: Route) -> None:
        if "mutation retryMany" in (route.request.post_data or ""):
            await next(waiting).wait()
        await route.continue_()

    await page.route("**/graphql", hold)
    await group(page, "MANY").get_by_role("button", name="Retry…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Retry 450 jobs").click()
    await expect(dialog).to_contain_text("0 of 450 retried")
    turns[0].set()
    await expect(dialog).to_contain_text("200 of 450 retried")
    await expect(dialog.get_by_role("progressbar", name="Jobs retried")).to_have_attribute("value", "200")
    await dialog.get_by_role("button", name="Stop here").click()
    turns[1].set()
    await expect(dialog).to_contain_text("400 jobs retried.")
    await expect(dialog).to_contain_text("50 jobs stayed as they were")


async def test_jobs_that_wait_for_a_retry_are_cancelled_together(watched: Watched, served: str, tmp_path: Path) -> None:
    call(served, "BUSY", tmp_path / "gate")
    for _ in range(2):
        call(served, "BUSY", tmp_path / "gate", later=True)
    call(served, "OTHER_CODE", tmp_path / "gate", later=True)
    wait_for(served, status=["FAILED", "RETRYING"], errorCode=["BUSY", "OTHER_CODE"], number=4)
    page = await opened(watched, served, "#/failures?order=newest")
    await group(page, "BUSY").get_by_role("button", name="Cancel retries…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel 2 jobs").click()
    await expect(page.get_by_role("dialog")).to_contain_text("2 jobs cancelled.")
    wait_for(served, status=["RETRYING"], errorCode=["BUSY", "OTHER_CODE"], number=1)


async def test_what_has_failed_with_a_code_after_a_time_is_retried(
    watched: Watched, served: str, tmp_path: Path, console_packages: Path
) -> None:
    """The time is that of this clock, stays in the address, and holds for what is done to all that match."""
    before, after, other = (tmp_path / name for name in ("before", "after", "other"))
    call(served, "503", before)
    wait_for(served, status=["FAILED"], errorCode=["503"], number=1)
    then = datetime.now().astimezone().replace(microsecond=0) + timedelta(seconds=1)
    while datetime.now().astimezone() <= then:
        await asyncio.sleep(0.05)
    call(served, "503", after)
    call(served, "404", other)
    wait_for(served, status=["FAILED"], errorCode=["503", "404"], number=3)
    page = await opened(watched, served, "#/jobs")
    rows = page.locator("table.jobs tbody tr")
    await page.get_by_role("list", name="Jobs by status").get_by_role("link", name=re.compile("Failed")).click()
    await page.get_by_label("Error code").fill("503")
    await expect(rows).to_have_count(2)
    field = page.get_by_label("Ended after")
    await field.fill(then.strftime("%Y-%m-%dT%H:%M:%S"))
    await expect(rows).to_have_count(1)
    assert f"finishedAfter={then.astimezone(UTC):%Y-%m-%dT%H%%3A%M%%3A%S}" in page.url
    await no_findings(page, console_packages)
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.reload()
    await expect(rows).to_have_count(1)
    assert datetime.fromisoformat(await field.input_value()) == then.replace(tzinfo=None)
    await page.get_by_label("Ended before").fill((then - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S"))
    await expect(page.get_by_role("alert").filter(has_text="No job is finished after")).to_be_visible()
    await page.get_by_label("Ended before").fill("")
    for gate in (before, after, other):
        gate.touch()
    await page.get_by_role("button", name="Retry all that match…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retry 1 job").click()
    await expect(page.get_by_role("dialog")).to_contain_text("1 job retried.")
    wait_for(served, status=["FAILED"], errorCode=["503", "404"], number=2)


async def test_failures_are_chosen_by_their_handler(watched: Watched, served: str, tmp_path: Path) -> None:
    call(served, "HERE", tmp_path / "gate")
    wait_for(served, status=["FAILED"], errorCode=["HERE"], number=1)
    page = await opened(watched, served, "#/failures")
    await expect(group(page, "HERE")).to_be_visible()
    await page.get_by_label("Handler").select_option("work.total")
    await expect(page.get_by_text("No job has failed since")).to_be_visible()
    await page.get_by_role("link", name="Show all handlers").click()
    await expect(group(page, "HERE")).to_be_visible()


async def newest_batch(watched: Watched, served: str, packages: Path, *words: str) -> Page:
    """Open the newest batch from the list, where its row has these words, the last of them as its page's heading."""
    page = await opened(watched, served, "#/batches")
    row = page.get_by_role("row").nth(1)
    for one in words:
        await expect(row).to_contain_text(one)
    await no_findings(page, packages)
    await page.set_viewport_size({"width": 1280, "height": 900})
    await row.get_by_role("link").first.click()
    await expect(page.get_by_role("heading", name=words[-1])).to_be_visible()
    return page


async def test_a_batch_is_followed_and_what_failed_in_it_is_retried(
    watched: Watched, served: str, tmp_path: Path, console_packages: Path
) -> None:
    gate = tmp_path / "gate"
    ask(served, ALL, input={"codes": ["", "CHILD", ""], "openWhen": str(gate)})
    wait_for(served, status=["FAILED"], errorCode=["CHILD"], number=1)
    page = await newest_batch(watched, served, console_packages, "made by work.all", "All 3 over")
    await page.get_by_role("link", name="Failed 1").click()
    rows = page.get_by_role("table", name="Children, newest first").locator("tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("CHILD: no answer")
    await no_findings(page, console_packages)
    await page.set_viewport_size({"width": 1280, "height": 900})
    gate.touch()
    await page.get_by_role("button", name="Retry the batch…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retry it").click()
    await expect(page.get_by_role("alert")).to_contain_text("The job that follows the batch is SUCCEEDED")
    await page.get_by_role("button", name="Retry failed children…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retry 1 job").click()
    await expect(page.get_by_role("dialog")).to_contain_text("1 job retried.")
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await expect(page.get_by_role("link", name="Succeeded 3")).to_be_visible()


async def test_a_batch_is_retried_as_a_whole(watched: Watched, served: str, tmp_path: Path) -> None:
    """The children that failed run again, and then what follows."""
    gate = tmp_path / "gate"
    ask(served, ALL, input={"codes": ["", "STOP"], "openWhen": str(gate), "stop": True})
    wait_for(served, status=["FAILED"], errorCode=["STOP"], number=1)
    page = await opened(watched, served, "#/batches")
    await page.get_by_role("row").nth(1).get_by_role("link").first.click()
    await expect(page.get_by_role("heading", name="Stopped by a failure: all 2 over")).to_be_visible()
    gate.touch()
    await page.get_by_role("button", name="Retry the batch…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retry it").click()
    await expect(page.get_by_role("link", name="Succeeded 2")).to_be_visible()
    await expect(page.locator(".facts")).to_contain_text("work.total Succeeded")


async def test_a_stopped_batch_whose_children_have_succeeded_since_goes_on(
    watched: Watched, served: str, tmp_path: Path
) -> None:
    """The failed child is retried alone, and what follows is not: the button that has the batch go on stays."""
    gate = tmp_path / "gate"
    ask(served, ALL, input={"codes": ["", "ALONE"], "openWhen": str(gate), "stop": True})
    wait_for(served, status=["FAILED"], errorCode=["ALONE"], number=1)
    page = await opened(watched, served, "#/batches")
    await page.get_by_role("row").nth(1).get_by_role("link").first.click()
    then = page.locator(".facts dd").nth(1).get_by_role("link")
    of_failure = str(await then.get_attribute("href"))
    gate.touch()
    await page.get_by_role("button", name="Retry failed children…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retry 1 job").click()
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await expect(page.get_by_role("link", name="Succeeded 2")).to_be_visible()
    await expect(then).to_have_attribute("href", of_failure)
    await page.get_by_role("button", name="Retry the batch…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("No child of it is failed or cancelled any more: it goes on to what follows.")
    await dialog.get_by_role("button", name="Retry it").click()
    await expect(then).not_to_have_attribute("href", of_failure)
    await expect(page.locator(".facts")).to_contain_text("work.total Succeeded")
    await expect(page.get_by_role("button", name="Retry the batch…")).to_have_count(0)


async def test_a_batch_and_its_jobs_show_why_they_were_cancelled(
    watched: Watched, served: str, tmp_path: Path, console_packages: Path
) -> None:
    turn = 'mutation { %sHandler(input: {handler: "work.call"}) { errors { message } } }'
    ask(served, turn % "pause")
    ask(served, ALL, input={"codes": ["", ""], "openWhen": str(tmp_path)})
    wait_for(served, status=["QUEUED"], handler=["work.call"], number=2)
    made = ask(served, "{ batches(first: 1) { id } }")["batches"][0]["id"]  # type: ignore[index]
    page = await opened(watched, served, f"#/batches/{made}")
    await page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Reason (optional)").fill("sold out")
    await dialog.get_by_role("button", name="Cancel the batch").click()
    await expect(page.get_by_role("heading", name="Cancelled: all 2 over")).to_be_visible()
    ask(served, turn % "resume")
    page = await newest_batch(watched, served, console_packages, "sold out", "Cancelled: all 2 over")
    await expect(page.locator(".facts")).to_contain_text("Reason for cancellingsold out")
    children = page.get_by_role("table", name="Children, newest first").locator("tbody tr")
    await expect(children.first).to_contain_text("sold out")
    await no_findings(page, console_packages)
    await page.set_viewport_size({"width": 1280, "height": 900})
    await children.first.get_by_role("link").click()
    await expect(page.locator("#job .facts")).to_contain_text("Reason for cancellingsold out")
    await page.goto(f"{served}/#/jobs?status=CANCELLED&handler=work.call")
    await expect(page.locator("table.jobs tbody tr").first.locator(".at-note")).to_have_text("sold out")


async def test_a_batch_goes_on_by_its_answers_while_its_subscription_ends_with_errors(
    watched: Watched, served: str, tmp_path: Path
) -> None:
    """Once the subscription holds again, the batch goes on by its changes, also without further answers."""
    turn = 'mutation { %sHandler(input: {handler: "work.call"}) { errors { message } } }'
    ask(served, turn % "pause")
    ask(served, ALL, input={"codes": ["", "", ""], "openWhen": str(tmp_path)})
    wait_for(served, status=["QUEUED"], handler=["work.call"], number=3)
    made = ask(served, "{ batches(first: 1) { id } }")["batches"][0]["id"]  # type: ignore[index]
    found = ask(served, f'{{ jobs(filter: {{batch: "{made}"}}) {{ nodes {{ id }} }} }}')
    first, second, _ = (node["id"] for node in found["jobs"]["nodes"])  # type: ignore[index]
    broken, answering = True, asyncio.Event()
    answering.set()

    async def cut_off(socket: WebSocketRoute) -> None:
        """End each subscription of the batch with an error after its first message."""
        server = socket.connect_to_server()

        def passed_on(message: str | bytes) -> None:
            sent = json.loads(message)
            socket.send(message)
            if broken and "batchUpdated" in ((sent.get("payload") or {}).get("data") or {}):
                socket.send(json.dumps({"id": sent["id"], "type": "error", "payload": [{"message": "an error"}]}))
                server.send(json.dumps({"id": sent["id"], "type": "complete"}))

        server.on_message(passed_on)

    async def answered(route: Route) -> None:
        if "query oneBatch" in (route.request.post_data or ""):
            await answering.wait()
        await route.continue_()

    await watched.page.route_web_socket(re.compile("/graphql"), cut_off)
    await watched.page.route("**/graphql", answered)
    page = await opened(watched, served, f"#/batches/{made}")
    heading = page.get_by_role("heading", level=2).first
    cancel = 'mutation { cancelJob(input: {id: "%s"}) { errors { message } } }'
    await expect(heading).to_have_text("0 of 3 over")
    ask(served, cancel % first)
    await expect(heading).to_have_text("1 of 3 over")
    broken = False
    answering.clear()
    ask(served, cancel % second)
    await expect(heading).to_have_text("2 of 3 over")
    answering.set()
    ask(served, turn % "resume")
    await expect(page.get_by_role("heading", name="All 3 over")).to_be_visible()


async def test_a_form_has_a_control_for_each_type(watched: Watched, served: str, console_packages: Path) -> None:
    """Errors of the answer are said at their fields, and the job is followed to its end."""
    page = await opened(watched, served, "#/send")
    await page.get_by_label("Mutation", exact=True).select_option("workOrder")
    assert page.url.endswith("#/send/workOrder")
    form = page.locator("form")
    items = form.get_by_role("group", name="items", exact=True)
    await items.get_by_role("button", name="Add one").click()
    await items.get_by_label("sku").fill("ab")
    await items.get_by_label("unitPrice").fill("12.50")
    await items.get_by_label("size").select_option("LARGE")
    await items.get_by_role("group", name="tags").get_by_role("button", name="Add one").click()
    await items.get_by_label("tags 1", exact=True).fill("red")
    await form.get_by_label("street").fill("Main Street")
    await form.get_by_label("due").fill("2030-01-31T09:30")
    await form.get_by_label("gift").check()
    await no_findings(page, console_packages)
    await form.get_by_role("button", name="Send").click()
    sku = items.get_by_label("sku")
    await expect(sku).to_have_attribute("aria-invalid", "true")
    await expect(sku).to_be_focused()
    await expect(sku).to_have_accessible_description(re.compile("at least 3"))
    await sku.fill("abc")
    await form.get_by_role("button", name="Send").click()
    sent = page.get_by_role("region", name="Sent from here").get_by_role("listitem")
    await expect(sent).to_contain_text("work.order")
    await expect(sent).to_contain_text("Succeeded")


async def test_a_time_that_is_half_typed_is_not_left_out(watched: Watched, served: str) -> None:
    """The job would run at once: to a script the control is empty."""
    page = await opened(watched, served, "#/send/processItem")
    await page.get_by_label("item").fill("not yet")
    start = page.get_by_label("runAt")
    await start.focus()
    await page.keyboard.type("01312030")
    await page.get_by_role("button", name="Send").click()
    await expect(start).to_have_accessible_description(re.compile("not complete or not valid"))
    await expect(start).to_be_focused()
    sent = page.get_by_role("region", name="Sent from here").get_by_role("listitem")
    await expect(sent).to_have_count(0)
    later = datetime.now(UTC) + timedelta(days=30)
    await start.fill(later.strftime("%Y-%m-%dT09:30"))
    await page.get_by_role("button", name="Send").click()
    await expect(sent).to_contain_text("Scheduled")


async def test_a_form_says_what_cannot_be_read(watched: Watched, served: str) -> None:
    page = await opened(watched, served, "#/send/workKeep")
    await page.get_by_label("extra").fill("{")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_label("extra")).to_have_accessible_description(re.compile("not JSON"))
    await page.get_by_label("extra").fill('{"a": 12345678901234567890}')
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("listitem").filter(has_text="work.keep")).to_contain_text("Succeeded")
    kept = ask(served, '{ jobs(first: 1, filter: {handler: "work.keep"}) { nodes { result } } }')
    assert kept == {"jobs": {"nodes": [{"result": {"a": 12345678901234567890}}]}}


async def test_lists_inside_lists_have_a_form(watched: Watched, served: str) -> None:
    """Empty, and filled as for a job."""
    page = await opened(watched, served, "#/send/workArea")
    form = page.locator("form")
    for name in ("rings", "rings 1", "rings 1 1"):
        await form.get_by_role("group", name=name, exact=True).get_by_role("button", name="Add one").click()
    await form.get_by_label("rings 1 1 1", exact=True).fill("1.5")
    await form.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("listitem").filter(has_text="work.area")).to_contain_text("Succeeded")
    sent = ask(served, '{ jobs(first: 1, filter: {handler: "work.area"}) { nodes { id result } } }')
    (job,) = sent["jobs"]["nodes"]  # type: ignore[index]
    assert job["result"] == 1.5
    await opened(watched, served, f"#/send/workArea?again={job['id']}")
    await expect(page.get_by_text("Filled as for")).to_contain_text(job["id"])
    await expect(form.get_by_label("rings 1 1 1", exact=True)).to_have_value("1.5")


@pytest.mark.parametrize("code", ["TIMEOUT", "INTERNAL", "UNAVAILABLE"])
async def test_what_the_server_may_have_accepted_is_sent_again_as_the_same(
    watched: Watched, served: str, code: str
) -> None:
    """An error of the whole answer may come after the acceptance: the form keeps its idempotency key."""
    page = await opened(watched, served, "#/send/workKeep")
    errors = iter([{"message": "It took too long.", "extensions": {"code": code}}])

    async def answer(route: Route) -> None:
        if "workKeep(" not in (route.request.post_data or ""):
            await route.continue_()
            return
        response = await route.fetch()
        error = next(errors, None)
        await (route.fulfill(response=response) if error is None else route.fulfill(json={"errors": [error]}))

    await page.route("**/graphql", answer)
    await page.get_by_label("extra").fill(json.dumps({"of": code}))
    await page.get_by_role("button", name="Send").click()
    said = page.locator("form [role=status]")
    await expect(said).to_have_text("It took too long. Send again: it is accepted once at most.")
    await page.get_by_role("button", name="Send").click()
    await expect(said).to_have_text("Accepted before: the same job.")


async def test_a_job_is_edited_and_sent_again(watched: Watched, served: str, console_packages: Path) -> None:
    """The form holds what the job was sent with; the changed job is another one, and is followed."""
    order = {
        "items": [{"sku": "pen", "unitPrice": "1.20", "size": "LARGE", "tags": ["red", "blue"]}],
        "address": {"street": "Main Street"},
        "due": "2030-01-31T09:30:00Z",
        "limit": 7,
        "gift": True,
    }
    made = ask(served, "mutation($i: WorkOrderInput!) { workOrder(input: $i) { job { id } } }", i=order)
    first = made["workOrder"]["job"]["id"]  # type: ignore[index]
    page = await opened(watched, served, f"#/jobs/{first}")
    await page.get_by_role("button", name="Edit and send again").click()
    await expect(page.get_by_text("Filled as for")).to_contain_text(first)
    await expect(page.get_by_label("Mutation", exact=True)).to_have_value("workOrder")
    form = page.locator("form")
    await expect(form.get_by_label("tags 2", exact=True)).to_have_value("blue")
    await expect(form.get_by_label("size")).to_have_value("LARGE")
    await expect(form.get_by_label("gift")).to_be_checked()
    await no_findings(page, console_packages)
    await form.get_by_label("sku").fill("ink")
    await form.get_by_role("button", name="Send").click()
    sent = page.get_by_role("region", name="Sent from here").get_by_role("listitem")
    await expect(sent).to_contain_text("Succeeded")
    newest = ask(served, '{ jobs(first: 1, filter: {handler: "work.order"}) { nodes { id sendAgain { input } } } }')
    (second,) = newest["jobs"]["nodes"]  # type: ignore[index]
    before = ask(served, f'{{ job(id: "{first}") {{ sendAgain {{ input }} }} }}')
    before["job"]["sendAgain"]["input"]["items"][0]["sku"] = "ink"  # type: ignore[index]
    assert second["id"] != first
    assert second["sendAgain"] == before["job"]["sendAgain"]  # type: ignore[index]


async def test_a_secret_is_to_be_typed_again(watched: Watched, served: str) -> None:
    made = ask(served, 'mutation { workPay(input: {pin: "4711", amount: 3}) { job { id } } }')
    page = await opened(watched, served, f"#/jobs/{made['workPay']['job']['id']}")  # type: ignore[index]
    await page.get_by_role("button", name="Edit and send again").click()
    await expect(page.get_by_text("Secret, and to be typed again: pin.")).to_be_visible()
    await expect(page.get_by_label("amount")).to_have_value("3")
    await expect(page.get_by_label("pin")).to_have_value("")
    assert "4711" not in await page.content()


async def test_a_job_that_no_form_makes_has_no_such_button(watched: Watched, served: str, tmp_path: Path) -> None:
    """One whose handler declares no mutation; and none where the server shows no schema."""
    register = 'mutation { registerUser(input: {username: "again", email: "again@example.com"}) { job { id } } }'
    job = ask(served, register)["registerUser"]["job"]["id"]  # type: ignore[index]
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.get_by_role("heading", name="Attempts")).to_be_visible()
    await expect(page.get_by_role("button", name="Edit and send again")).to_have_count(0)
    await page.goto(f"{served}/#/send/workPay?again={job}")
    await expect(page.get_by_text(f"No job {job} can be sent again as workPay.")).to_be_visible()
    settings = settings_in(tmp_path, environment="production", auth={"mode": "open", "allow_public": True})
    async with another_server(watched, settings) as closed:
        other = process(closed, "words")
        page = await opened(watched, closed, f"#/jobs/{other}")
        await expect(page.get_by_role("heading", name="Result")).to_be_visible()
        await expect(page.get_by_role("button", name="Edit and send again")).to_have_count(0)


async def test_a_server_that_answers_trusted_documents_alone_has_no_forms(watched: Watched, tmp_path: Path) -> None:
    """The other pages work as before."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "own.graphql").write_text("{ viewer { id } }")
    settings = settings_in(tmp_path, gql={"documents": "trusted", "documents_dir": "documents"})
    async with another_server(watched, settings) as address:
        page = await opened(watched, address, "#/send")
        await expect(page.get_by_text("This server does not show its schema")).to_be_visible()
        for name, words in (("Failures", "No job has failed"), ("Batches", "No batch yet.")):
            await page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
            await expect(page.get_by_text(words)).to_be_visible()
        (refused,) = watched.complaints  # of the browser, about the answer to the question for the schema
        assert "403" in refused
        watched.complaints.clear()


async def test_pages_of_all_jobs_say_that_they_are_for_admins(watched: Watched, tmp_path: Path) -> None:
    async with another_server(watched, jwt_settings(tmp_path)) as address:
        token = header("ada")["authorization"].removeprefix("Bearer ")
        await watched.page.add_init_script(f"sessionStorage.setItem('onward:token', '{token}')")
        page = await opened(watched, address)
        await expect(page.get_by_role("region", name="Backends")).to_contain_text("reachable")
        await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Failures").click()
        await expect(page.get_by_text("Failures are for admins.")).to_be_visible()
        await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Batches").click()
        await expect(page.get_by_text("All batches are for admins.")).to_be_visible()
        await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Send").click()
        await page.get_by_label("Mutation", exact=True).select_option("processItem")
        await page.get_by_label("item").fill("words")
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("listitem").filter(has_text="steps.process_item")).to_contain_text("Succeeded")
