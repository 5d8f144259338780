"""Random hostile bodies, headers and frames; the same seed makes the same ones."""

import json
import random
from collections.abc import Callable
from typing import Any

SCALARS: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 10**400, 1.5e308, "", "x", "\x00", "\ud800", "é" * 50, "{{7*7}}", "' OR 1=1 --",
    "=?utf-8?q?a=0ABcc:e@x?=", "a@x, b@x", "a\r\nBcc: b@x", "job_x", "job_" + "0" * 32, "../../x", [], {}, [[]],
    "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "-1", "NaN", "%", "*" * 300,
)  # fmt: skip
NAMES = (
    "query", "mutation", "subscription", "fragment", "on", "job", "jobs", "node", "viewer", "system", "id", "status",
    "steps", "name", "__typename", "__schema", "types", "fields", "processItem", "cancelJob", "retryJobs", "jobUpdated",
    "input", "filter", "first", "after", "errors", "code", "Job", "Query", "Int", "String", "F0", "F1", "true", "null",
)  # fmt: skip
MARKS = (
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "!",
    "...",
    "$",
    "@",
    "=",
    "|",
    "&",
    '"',
    '"""',
    "#",
    ",",
    "\n",
    " ",
    "1",
    "-1e9",
)
DOCUMENTS = (
    "{ viewer { roles } }",
    "query($id: ID!) { job(id: $id) { id status steps { name } } }",
    "query($f: JobFilter, $n: Int) { jobs(first: $n, filter: $f) { nodes { id } pageInfo { endCursor } } }",
    "query($c: String) { jobs(after: $c) { edges { cursor } } }",
    "mutation($i: ProcessItemInput!) { processItem(input: $i) { job { id } errors { code } } }",
    "mutation($i: RegisterUserInput!) { registerUser(input: $i) { job { id } errors { code } } }",
    "mutation($i: CancelJobInput!) { cancelJob(input: $i) { errors { code } } }",
    "mutation($i: RetryJobsInput!) { retryJobs(input: $i) { count errors { code } } }",
    "mutation($i: CancelJobsInput!) { cancelJobs(input: $i) { count errors { code } } }",
    "subscription($id: ID!) { jobUpdated(id: $id) { id } }",
    "{ __schema { types { name fields { name type { name ofType { name } } } } } }",
)
KEYS = (
    "query",
    "variables",
    "operationName",
    "extensions",
    "documentId",
    "id",
    "i",
    "f",
    "n",
    "c",
    "payload",
    "type",
    "input",
)
FIELDS = (
    "item",
    "username",
    "email",
    "message",
    "idempotencyKey",
    "runAt",
    "id",
    "reason",
    "filter",
    "limit",
    "status",
)
HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("content-type", ("application/json", "application/jsonfoo", "text/plain", "application/json; charset=utf-16",
                      "multipart/form-data; boundary=x", "", "application/graphql", "a" * 500)),
    ("accept", ("*/*", "application/json", "application/graphql-response+json", "text/event-stream", "text/html", "x",
                "application/json;q=x", ",,,;;;=", "a/b," * 300)),
    ("authorization", ("Bearer x", "Bearer", "Basic x", "Bearer " + "a." * 300)),
    ("origin", ("http://evil.example", "null", "http://[::1", "x")),
    ("x-forwarded-for", ("1.2.3.4", "," * 100, "::1", "x")),
    ("content-encoding", ("gzip", "identity")),
)  # fmt: skip


class Cases:
    """Makes any number of cases."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def value(self, depth: int = 4) -> Any:
        chance = self._chance
        if depth == 0 or chance.random() < 0.6:
            return chance.choice(SCALARS)
        if chance.random() < 0.3:
            return [self.value(depth - 1) for _ in range(chance.randint(0, 4))]
        return {chance.choice(KEYS + FIELDS): self.value(depth - 1) for _ in range(chance.randint(0, 5))}

    def document(self) -> str:
        chance = self._chance
        if chance.random() < 0.4:
            return chance.choice(DOCUMENTS)
        if chance.random() < 0.5:
            words = chance.choice(DOCUMENTS).split(" ")
            for _ in range(chance.randint(1, 4)):
                words[chance.randrange(len(words))] = chance.choice(NAMES + MARKS)
            return " ".join(words)
        if chance.random() < 0.2:
            spread = "".join(
                f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }} " for n in range(chance.randint(1, 60))
            )
            return "{ ...F0 } " + spread
        if chance.random() < 0.2:
            return "{a" * chance.randint(1, 3_000)
        return " ".join(chance.choice(NAMES + MARKS) for _ in range(chance.randint(0, 300)))

    def request(self) -> Any:
        chance = self._chance
        if chance.random() < 0.1:
            return self.value()
        made: dict[str, Any] = {"query": self.document()}
        if chance.random() < 0.8:
            given = {field: self.value(2) for field in chance.sample(FIELDS, chance.randint(0, 5))}
            made["variables"] = {
                "id": self.value(1),
                "i": given,
                "f": self.value(2),
                "n": self.value(1),
                "c": self.value(1),
            }
        for key in ("operationName", "extensions", "documentId", "variables"):
            if chance.random() < 0.07:
                made[key] = self.value()
        return made

    def body(self) -> bytes:
        """Return the body of a POST."""
        return self._bent(dumped(self.request()))

    def headers(self) -> dict[str, str]:
        chance = self._chance
        made = {"content-type": "application/json"}
        for name, values in HEADERS:
            if chance.random() < 0.06:
                made[name] = chance.choice(values)
        return made

    def frame(self) -> str | bytes:
        """Return the messages of a socket."""
        chance = self._chance
        kind = chance.choice(
            ("connection_init", "subscribe", "subscribe", "subscribe", "complete", "ping", "pong", "x")
        )
        id_ = chance.choice(("1", "2", "3", "", "x" * 300)) if chance.random() < 0.95 else self.value(1)
        message: Any = {"type": kind, "id": id_, "payload": self.request() if kind == "subscribe" else None}
        if chance.random() < 0.1:
            message = self.value()
        elif chance.random() < 0.1:
            message[chance.choice(("type", "id", "payload"))] = self.value()
        raw = dumped(message)
        if chance.random() < 0.9:
            return raw.decode("utf-8", "replace")
        bent = self._bent(raw)
        return bent if chance.random() < 0.3 else bent.decode("utf-8", "replace")

    def _bent(self, raw: bytes) -> bytes:
        chance = self._chance
        bends: tuple[Callable[[bytes], bytes], ...] = (
            lambda b: b[: chance.randrange(len(b) + 1)],
            lambda b: b + b,
            lambda b: b.decode("utf-8", "replace").encode("utf-16"),
            lambda b: b"\xef\xbb\xbf" + b,
            lambda b: b"[" * chance.randint(1, 100_000) + b,
            lambda b: b.replace(b'"', b"'"),
            lambda b: b.replace(b":", b": NaN", 1),
            lambda b: b"[" + b + b"]",
            lambda b: bytes(chance.randrange(256) if chance.random() < 0.02 else c for c in b),
            lambda b: b + b" " * chance.choice((10, 99_000, 200_000)),
            lambda b: b.replace(b"{", b'{"query": 1, ', 1),
        )
        return chance.choice(bends)(raw) if chance.random() < 0.25 else raw


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
