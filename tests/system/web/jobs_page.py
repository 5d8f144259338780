"""Shared parts of the tests of the jobs page: requests to the server, and an open page."""

import json
from urllib.request import Request, urlopen

from playwright.async_api import Locator, Page, expect

from tests.system.web.conftest import Watched


def ask(served: str, query: str, **variables: object) -> dict[str, object]:
    """Return the data of an answer over HTTP, for a test's preparations."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = Request(f"{served}/graphql", data=body, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as answer:
        content = json.load(answer)
    assert "errors" not in content, content
    data: dict[str, object] = content["data"]
    return data


def process(served: str, item: str, **more: object) -> str:
    """Accept a job that processes an item, and return its id."""
    mutation = "mutation($input: ProcessItemInput!) { processItem(input: $input) { job { id } errors { message } } }"
    data = ask(served, mutation, input={"item": item, **more})
    return str(data["processItem"]["job"]["id"])  # type: ignore[index]


async def opened(watched: Watched, served: str, place: str = "") -> Page:
    await watched.page.goto(f"{served}/{place}")
    await expect(watched.page.locator("#connection")).to_have_text("Live")
    return watched.page


def followed(page: Page) -> Locator:
    """Return the job that was sent last."""
    return page.locator("#follow li[data-job]").first
