"""Shared parts of the tests of the console: an open page, and what a checker of accessibility finds in it."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, expect

from onward.config.settings import Settings
from tests.integration.graphql.conftest import serving
from tests.system.web.conftest import Watched

WIDTHS = (390, 768, 1280, 1920)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CHECK = "(rules) => axe.run(document, { runOnly: { type: 'tag', values: rules } })"
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def opened(watched: Watched, served: str, place: str = "#/") -> Page:
    """Open the console at an address of its own, and wait until changes come in."""
    await watched.page.goto(f"{served}/{place}")
    await expect(watched.page.locator("#connection")).to_have_text("Live")
    return watched.page


@asynccontextmanager
async def another_server(watched: Watched, settings: Settings) -> AsyncIterator[str]:
    """Serve these settings and let the page reach them, and close the page before the server ends.

    A page that is still open when its server has gone asks for it again and complains.
    """
    with serving(settings) as address:
        await watched.page.context.unroute_all()
        yield f"http://{address}"
        await watched.page.close()


async def no_findings(page: Page, packages: Path) -> None:
    """Fail with what axe, of these packages, finds in the page at each width, light and dark."""
    # Run by the debugger, not by the page: its policy allows no foreign script.
    await page.evaluate((packages / "axe-core" / "axe.min.js").read_text("utf-8"))
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = await page.evaluate(CHECK, RULES)
            assert found["passes"]
            assert summary(found["violations"]) == [], (width, scheme)
            assert await page.evaluate(WIDER) == 0, f"wider than {width} px"


def summary(violations: Iterable[dict[str, object]]) -> list[str]:
    return [json.dumps({key: one[key] for key in ("id", "help", "nodes")})[:800] for one in violations]
