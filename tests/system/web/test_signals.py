"""A person answers what a job waits for at a signed address."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from onward.config.settings import Settings
from onward.runtime.values import signal_urls
from tests.integration.graphql.conftest import serving, settings_in
from tests.system.web import signal_handlers
from tests.system.web.asking import ask

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]
MADE = 'mutation { signalsReview(input: {text: "words"}) { job { id } } }'


@pytest.fixture
def served_here(tmp_path: Path) -> Iterator[tuple[Settings, str]]:
    tables = {"handlers": {"modules": [signal_handlers.__name__]}, "signals": {"secret": ["k" * 32]}}
    settings = settings_in(tmp_path, **tables)
    with serving(settings) as address:
        yield settings, f"http://{address}"


def accepted(address: str) -> str:
    return str(ask(address, MADE)["signalsReview"]["job"]["id"])  # type: ignore[index]


async def test_a_signed_address_has_the_same_form(browser: Browser, served_here: tuple[Settings, str]) -> None:
    settings, address = served_here
    job_id = accepted(address)
    url = signal_urls(settings).make(job_id, "review", timedelta(hours=1))
    page = await browser.new_page()
    await page.goto(f"{address}/signal/{url.rpartition('/')[2]}")
    await page.get_by_label("Stars").fill("4")
    await page.get_by_label("Grade").select_option("bad")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_text("Thank you. Your answer has arrived.")).to_be_visible()
    await page.reload()
    await expect(page.get_by_text("This has been answered.")).to_be_visible()
    await page.goto(f"{address}/#/jobs/{job_id}")
    await expect(page.get_by_role("region", name="Result").last).to_contain_text("False  4 bad nobody")
    await page.close()


@pytest.mark.parametrize("place", ["signed", "console"])
async def test_a_payload_is_what_the_form_shows(
    browser: Browser, served_here: tuple[Settings, str], place: str
) -> None:
    """Null for a choice that nobody made, every digit, and a text that was cleared; half a number is not left out."""
    settings, address = served_here
    made = ask(address, 'mutation { signalsSurvey(input: {text: "words"}) { job { id } } }')
    job_id = str(made["signalsSurvey"]["job"]["id"])  # type: ignore[index]
    signed = signal_urls(settings).make(job_id, "survey", timedelta(hours=1)).rpartition("/")[2]
    page = await browser.new_page()
    await page.goto(f"{address}/signal/{signed}" if place == "signed" else f"{address}/#/jobs/{job_id}")
    await expect(page.get_by_label("Ok")).to_contain_text("noneyesno")
    await page.get_by_label("Number").press_sequentially("9-")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.get_by_text("This value is not complete or not valid.")).to_be_visible()
    await page.get_by_label("Number").fill("9007199254740993")
    await expect(page.get_by_label("Comment")).to_have_value("hi")
    await page.get_by_label("Comment").fill("")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.get_by_text("Thank you." if place == "signed" else "Succeeded").first).to_be_visible()
    found: dict[str, object] = {}
    while not found.get("result"):
        found = ask(address, "query($id: ID!) { job(id: $id) { result } }", id=job_id)["job"]  # type: ignore[assignment]
    assert found["result"] == {
        "ok": "None",
        "number": "9007199254740993",
        "comment": "''",
        "grade": "None",
    }
    await page.close()
