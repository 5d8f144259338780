"""A client of the API that records every answer, and repeats unanswered requests with the same key."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.system.faults.loop import Loop
from tests.system.faults.mutation_kinds import KINDS, NONE, Chosen, Kind, Params

TIMEOUT_S = 15.0
UNSURE = frozenset({"UNAVAILABLE", "TIMEOUT"})  # answers that may hide a job: send again, with the key


@dataclass(slots=True)
class Request:
    """A mutation and its outcome."""

    marker: int
    kind: Kind
    key: str | None
    params: Params
    sent_at: float
    job: str | None = None
    replayed: bool = False
    refused: list[str] = field(default_factory=list)  # codes of the answers that were no acceptance
    unanswered: int = 0  # tries whose answer never came
    took_s: float = 0.0  # of the try that was answered
    answered_at: float = 0.0
    second: str | None = None  # the job of the same request, sent a second time at once

    @property
    def unsure(self) -> bool:
        """True if the client cannot know whether there is a job."""
        return self.job is None and (self.unanswered > 0 or not UNSURE.isdisjoint(self.refused))


class Lost(Exception):
    """A request without an answer."""


class Client:
    """Sends to its ports in turn. Used from the harness's thread; works on its loop."""

    def __init__(self, loop: Loop, ports: Sequence[int], *, seed: int = 0, timeout_s: float = 60.0) -> None:
        self.requests: list[Request] = []
        self.timeout_s = timeout_s
        self._loop = loop
        self._ports = itertools.cycle(ports)
        self._markers = itertools.count(1)
        self._chance = random.Random(seed)
        self._run = f"{random.getrandbits(64):x}"
        self._idle: dict[int, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}
        self._going: asyncio.Task[None] | None = None
        self._stopping = False

    def send(
        self, kind: str, n: int = 1, *, keyed: bool = True, lanes: int = 8, params: Params = NONE, twice: bool = False
    ) -> list[Request]:
        """Send that many of one kind, each until it is answered."""
        return self._loop.call(self._send_all(KINDS[kind], n, keyed=keyed, lanes=lanes, params=params, twice=twice))

    def again(self, requests: list[Request]) -> None:
        """Repeat the requests that have a key and no final answer, until the timeout."""
        self._loop.call(self._send_again([request for request in requests if request.key and request.job is None]))

    def begin(self, rate: float, mix: Mapping[str, float], params: Mapping[str, Chosen], *, lanes: int = 64) -> None:
        """Send that many mutations a second of these kinds, mixed by weight, from now on."""
        self._stopping = False
        self._going = self._loop.call(self._start(rate, mix, params, lanes))

    def end(self) -> list[Request]:
        """Stop sending; return all requests once each is answered or given up."""
        if self._going is not None:
            self._stopping = True
            self._loop.call(self._await(self._going))
            self._going = None
        return self.requests

    def ask(self, query: str, variables: Mapping[str, Any] | None = None) -> Any:
        """Return the data of a query or a mutation. Raises Lost, and AssertionError for errors."""
        answer = self._loop.call(self._ask({"query": query, "variables": dict(variables or {})}))
        assert "errors" not in answer, answer
        return answer["data"]

    def mutate(self, query: str, variables: Mapping[str, Any]) -> list[str]:
        """Send a mutation, `r` in its document, until the answer is final; return the codes of its errors.

        Raises Lost after the timeout.
        """
        return self._loop.call(self._mutate({"query": query, "variables": dict(variables)}))

    def post(self, query: str, variables: Mapping[str, Any]) -> None:
        """Send the request once, whatever its outcome."""
        with suppress(Lost):
            self._loop.call(self._post({"query": query, "variables": dict(variables)}))

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body. Raises Lost."""
        return self._loop.call(self._exchange(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()))

    def close(self) -> None:
        self._loop.call(self._close())

    async def _close(self) -> None:
        for idle in self._idle.values():
            for _, writer in idle:
                writer.transport.abort()
            idle.clear()

    async def _ask(self, content: Mapping[str, Any]) -> Any:
        for _ in range(20):
            with suppress(Lost):
                return await self._post(content)
            await asyncio.sleep(0.2)
        raise Lost("however often it was asked")

    async def _mutate(self, content: Mapping[str, Any]) -> list[str]:
        deadline = time.monotonic() + self.timeout_s
        while time.monotonic() < deadline:
            with suppress(Lost):
                codes = [error["code"] for error in _payload(await self._post(content))["errors"]]
                if UNSURE.isdisjoint(codes):
                    return codes
            await asyncio.sleep(self._chance.uniform(0.05, 0.3))
        raise Lost("however often it was sent")

    async def _start(
        self, rate: float, mix: Mapping[str, float], params: Mapping[str, Chosen], lanes: int
    ) -> asyncio.Task[None]:
        return asyncio.create_task(self._load(rate, mix, params, lanes))

    @staticmethod
    async def _await(task: asyncio.Task[None]) -> None:
        await task

    async def _load(self, rate: float, mix: Mapping[str, float], params: Mapping[str, Chosen], lanes: int) -> None:
        turn = asyncio.Semaphore(lanes)
        tasks: set[asyncio.Task[None]] = set()
        names, weights = list(mix), list(mix.values())
        due = time.monotonic()
        while not self._stopping:
            due = max(due + 1 / rate, time.monotonic() - 1.0)  # after a pause it does not make up for all of it
            await asyncio.sleep(max(due - time.monotonic(), 0))
            await turn.acquire()
            kind = KINDS[self._chance.choices(names, weights)[0]]
            keyed, twice = self._chance.random() > 0.1, self._chance.random() < 0.05
            chosen = params.get(kind.name, NONE)
            request = self._new(
                kind, keyed=keyed, params=chosen if isinstance(chosen, Mapping) else chosen(self._chance)
            )
            task = asyncio.create_task(self._repeat(request, twice=twice and keyed))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            task.add_done_callback(lambda _done: turn.release())
        await asyncio.gather(*tasks)

    async def _send_all(
        self, kind: Kind, n: int, *, keyed: bool, lanes: int, params: Params, twice: bool
    ) -> list[Request]:
        turn = asyncio.Semaphore(lanes)

        async def one(request: Request) -> None:
            async with turn:
                await self._repeat(request, twice=twice)

        requests = [self._new(kind, keyed=keyed, params=params) for _ in range(n)]
        await asyncio.gather(*map(one, requests))
        return requests

    async def _send_again(self, requests: list[Request]) -> None:
        for request in requests:
            await self._repeat(request, twice=False)

    def _new(self, kind: Kind, *, keyed: bool, params: Params) -> Request:
        marker = next(self._markers)
        request = Request(marker, kind, f"{self._run}-{marker}" if keyed else None, params, time.time())
        self.requests.append(request)
        return request

    async def _repeat(self, request: Request, *, twice: bool) -> None:
        """Repeat the request until it is answered with a job, refused for good, or past its timeout."""
        if twice:
            second = await asyncio.gather(self._try(request), self._once(request), return_exceptions=True)
            if isinstance(second[1], dict) and second[1]["job"] is not None:
                request.second = second[1]["job"]["id"]
        else:
            await self._try(request)

    async def _try(self, request: Request) -> None:
        deadline = time.monotonic() + self.timeout_s
        request.sent_at = time.time()
        while not self._tried(request, await self._answer(request)):
            if request.key is None or time.monotonic() > deadline:
                return
            await asyncio.sleep(self._chance.uniform(0.05, 0.3))

    async def _answer(self, request: Request) -> dict[str, Any] | None:
        started = time.monotonic()
        try:
            answer = await self._once(request)
        except Lost:
            request.unanswered += 1
            return None
        request.took_s = time.monotonic() - started
        request.answered_at = time.time()
        return answer

    @staticmethod
    def _tried(request: Request, answer: dict[str, Any] | None) -> bool:
        """Send once; return True if the answer is final."""
        if answer is None:
            return False
        if answer["job"] is not None:
            request.job, request.replayed = answer["job"]["id"], answer["replayed"]
            return True
        codes = [error["code"] for error in answer["errors"]]
        request.refused += codes
        return UNSURE.isdisjoint(codes)

    async def _once(self, request: Request) -> dict[str, Any]:
        kind = request.kind
        answer = await self._post(
            {"query": kind.query, "variables": kind.variables(request.marker, request.key, request.params)}
        )
        return _payload(answer)

    async def _post(self, content: Mapping[str, Any]) -> Any:
        body = json.dumps(content).encode()
        head = (
            "POST /graphql HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        status, answer = await self._exchange(head.encode() + body)
        if status >= 500:
            raise Lost(f"HTTP {status}")
        return json.loads(answer)

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        """Return the status and the body. Raises Lost."""
        port = next(self._ports)
        idle = self._idle.setdefault(port, [])
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = _living(idle) or await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(request)
                    found = await _read(reader)
                except BaseException:
                    writer.transport.abort()
                    raise
                idle.append((reader, writer))
                return found
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            raise Lost from error


def _payload(answer: Any) -> dict[str, Any]:
    """Return the payload of the mutation `r`; one with the errors of the whole answer if there is none."""
    if not answer.get("data") or answer["data"]["r"] is None:
        codes = [error.get("extensions", {}).get("code", "?") for error in answer.get("errors", [])]
        return {"job": None, "replayed": False, "errors": [{"code": code} for code in codes]}
    found: dict[str, Any] = answer["data"]["r"]
    return found


def _living(idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> Any:
    """Return a connection that is still open, as far as is known; None if there is none."""
    while idle:
        reader, writer = idle.pop()
        if not reader.at_eof() and reader.exception() is None:
            return reader, writer
        writer.transport.abort()
    return None


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    length = next(line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:"))
    return status, await reader.readexactly(int(length))
