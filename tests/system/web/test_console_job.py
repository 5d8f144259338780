"""One job in the console: cancelled and retried; and the messages."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.system.web.asking import ask, process
from tests.system.web.conftest import Watched
from tests.system.web.console_page import no_findings, opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]
REGISTER = "mutation($input: RegisterUserInput!) { registerUser(input: $input) { job { id } } }"


async def test_a_scheduled_job_is_cancelled(watched: Watched, served: str) -> None:
    job = process(served, "later", runAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.get_by_text(re.compile("Waiting for its time"))).to_be_visible()
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_role("dialog").get_by_label("Reason (optional)").fill("changed my mind")
    await page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    await expect(page.locator("#job .head")).to_contain_text("Cancelled")
    await expect(page.get_by_role("button", name="Cancel…")).to_be_hidden()


async def test_a_failed_job_is_retried(watched: Watched, served: str, console_packages: Path) -> None:
    job = process(served, "bell \u0007")
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.locator("#job .head")).to_contain_text("Failed")
    await expect(page).to_have_title("Failed: steps.process_item - Onward")
    attempts = page.locator("table.attempts tbody tr")
    await expect(attempts).to_have_count(1)
    await page.get_by_role("button", name="Retry", exact=True).dblclick()
    await expect(attempts).to_have_count(2)
    await expect(page.locator("#job .said")).to_be_empty()  # no second retry, which would be refused
    await expect(page.locator("#job .head")).to_contain_text("Failed")
    await expect(page.locator("#job .facts")).to_contain_text("1 of at most")
    await expect(page.locator("#job .facts")).to_contain_text("since it was retried by hand, 2 in all")
    await expect(page.locator("#job .facts")).to_contain_text("in 2 attempts")
    await page.get_by_role("button", name="Retry from start").click()
    await expect(attempts).to_have_count(3)
    await expect(page.get_by_role("list", name=re.compile("Timeline"))).to_contain_text("attempt 3")
    await no_findings(page, console_packages)


async def test_a_retry_from_elsewhere_is_shown(watched: Watched, served: str) -> None:
    """Somebody else's, or one of all that match: the job was over, and had nothing more to tell."""
    job = process(served, "bell \u0007")
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.locator("#job .head")).to_contain_text("Failed")
    attempts = page.locator("table.attempts tbody tr")
    await expect(attempts).to_have_count(1)
    ask(served, "mutation($id: ID!) { retryJob(input: {id: $id}) { errors { message } } }", id=job)
    await expect(attempts).to_have_count(2)
    await expect(page.locator("#job .head")).to_contain_text("Failed")


async def test_there_may_be_no_such_job(watched: Watched, served: str) -> None:
    page = await opened(watched, served, "#/jobs/job_nothing")
    await expect(page.get_by_role("heading", name="No such job")).to_be_visible()
    await expect(page.get_by_text("Old jobs are removed after a while.")).to_be_visible()


async def test_a_job_without_output_has_no_such_part(watched: Watched, served: str) -> None:
    page = await opened(watched, served, f"#/jobs/{process(served, 'quiet')}")
    await expect(page.locator("#job .head")).to_contain_text("Succeeded")
    await expect(page.get_by_role("log", name="Output")).to_be_hidden()


async def test_a_message_is_shown_as_plain_text(watched: Watched, served: str) -> None:
    """The recipient's name looks like markup."""
    answer = ask(served, REGISTER, input={"username": "<i>letter</i>", "email": "mail@example.com"})
    job = answer["registerUser"]["job"]["id"]  # type: ignore[index]
    page = await opened(watched, served, "#/mail")
    email = page.locator(f"[data-email={job}]")
    await expect(email.locator("summary")).to_contain_text("to mail@example.com")
    await email.locator("summary").click()
    await expect(email.locator("pre")).to_contain_text("Hello <i>letter</i>,")


async def test_words_in_a_table_are_not_broken(watched: Watched, served: str) -> None:
    job = process(served, "bell \u0007")
    page = await opened(watched, served, f"#/jobs/{job}")
    outcome = page.locator("table.attempts td").last
    await expect(outcome).to_be_visible()
    assert await outcome.evaluate("cell => getComputedStyle(cell).overflowWrap") == "break-word"
