"""Requests to a GraphQL server: their bodies, and one at a time over one connection."""

from __future__ import annotations

import http.client
import json
from typing import Any

from benchmarks.base import BenchError

PROCESS_ITEM = (
    "mutation ProcessItem($input: ProcessItemInput!) { processItem(input: $input)"
    " { job { id status } replayed errors { code message } } }"
)
ITEM = "The quick brown fox jumps over the lazy dog.\nTwice, if it has to."


def body(query: str, **variables: Any) -> bytes:
    return json.dumps({"query": query, "variables": variables}).encode()


def process_item() -> bytes:
    return body(PROCESS_ITEM, input={"item": ITEM})


class Caller:
    """One kept connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(self, given: bytes, path: str = "/graphql") -> Any:
        """Return the answer's `data`, or the whole answer if it is not GraphQL. Raises BenchError for errors."""
        self._connection.request("POST", path, given, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        text = response.read()
        answer = json.loads(text)
        if response.status != http.client.OK or "errors" in answer:
            raise BenchError(f"the server refused a request: {text.decode(errors='replace')[:1000]}")
        return answer.get("data", answer)
