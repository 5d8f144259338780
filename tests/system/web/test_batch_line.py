"""The batch of a job on its own view: how many of its children are over."""

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from onward.handlers.base import JobContext, batch, handler
from tests.integration.graphql.conftest import serving, settings_in
from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import ask, opened

pytestmark = pytest.mark.slow
TABLES = {"handlers": {"modules": ["tests.system.web.test_batch_line"]}}
CHILDREN = '{ jobs(filter: {handler: "lines.child"}) { nodes { id done batch { done } } } }'


@handler("lines.child")
async def child(job: JobContext, *, number: int) -> int:
    return number


@handler("lines.all", mutation=True)
async def all_of_them(job: JobContext) -> str:
    return job.dispatch(batch([child.job(number=number) for number in range(3)]))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(settings_in(tmp_path_factory.mktemp("project"), **TABLES)) as address:
        yield f"http://{address}"


async def test_a_job_shows_its_batch_and_its_parent(watched: Watched, served: str) -> None:
    parent = ask(served, "mutation { linesAll(input: {}) { job { id } } }")["linesAll"]["job"]["id"]  # type: ignore[index]
    nodes: list[dict[str, str]] = []
    while len(nodes) < 3 or not all(node["done"] for node in nodes):
        nodes = ask(served, CHILDREN)["jobs"]["nodes"]  # type: ignore[index]
    page = await opened(watched, served, f"#/jobs/{nodes[0]['id']}")
    await expect(page.locator("#job .facts")).to_contain_text("3 of 3 over: 3 succeeded")
    await page.get_by_role("link", name="lines.all").click()
    await expect(page.locator("#job .head")).to_contain_text(parent)
