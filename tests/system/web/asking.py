"""Requests to the server, for a test's preparations."""

import json
from urllib.request import Request, urlopen


def ask(served: str, query: str, **variables: object) -> dict[str, object]:
    """Return the data of an answer over HTTP."""
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
