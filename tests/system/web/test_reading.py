"""The page shows what is there, exactly, and offers nothing that would be refused."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests import application
from tests.processes import running
from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import opened, process

pytestmark = pytest.mark.slow
JWT = '[server]\nport = 0\n[auth]\nmode = "jwt"\n[auth.jwt]\nsecret = "a secret of the test, long enough"\n'


async def test_whole_numbers_keep_every_digit(watched: Watched, served: str) -> None:
    """JavaScript's own parser rounds numbers beyond 2^53; fractions and small numbers stay as they were."""
    page = await opened(watched, served)
    shown = await page.evaluate(
        "async (text) => (await import('./static/jobs/format.js')).json("
        "(await import('./static/jobs/exact.js')).parse(text))",
        '{"big": 12345678901234567890, "less": -9007199254740993, "small": 7, "part": 1.5}',
    )
    assert [line.strip(" ,") for line in shown.splitlines()[1:-1]] == [
        '"big": 12345678901234567890',
        '"less": -9007199254740993',
        '"small": 7',
        '"part": 1.5',
    ]


async def test_a_date_in_another_year_shows_the_year(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    dates = await page.evaluate(
        "async () => { const { moment } = await import('./static/jobs/format.js'); const now = new Date();"
        " return [now, new Date(now.getFullYear(), 0, now.getMonth() ? 2 : 1 + now.getDate() % 28),"
        " new Date(2019, 4, 1)].map(moment); }"
    )
    assert "2019" in dates[2]
    assert not any(str(year) in shown for shown in dates[:2] for year in range(2020, 2100))


async def test_states_differ_by_more_than_their_colour(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    signs = await page.locator("#counts .status").evaluate_all(
        "found => found.map(one => getComputedStyle(one, '::before').content)"
    )
    assert len(set(signs)) == len(signs) == 9


async def test_a_long_id_is_shortened_to_show_the_note(watched: Watched, served: str) -> None:
    """The end stays visible, since ids of one day begin alike; a screen reader gets the whole id."""
    job = process(served, "bell \u0007")
    page = await opened(watched, served)
    row = page.locator("tr", has=page.locator(f'a[title="{job}"]'))
    note, cell = await row.locator(".at-note").bounding_box(), await row.locator(".at-job").bounding_box()
    assert note is not None
    assert cell is not None
    assert note["width"] > 2 * cell["width"]
    assert await row.locator(".at-job a").text_content() == job
    assert await row.locator(".at-job span:last-child").text_content() == job[-8:]


async def test_words_in_a_table_are_not_broken(watched: Watched, served: str) -> None:
    job = process(served, "bell \u0007")
    page = await opened(watched, served, f"#/jobs/{job}")
    outcome = page.locator("table.attempts td").last
    await expect(outcome).to_be_visible()
    assert await outcome.evaluate("cell => getComputedStyle(cell).overflowWrap") == "break-word"


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
