"""Mixed load at a steady rate: jobs of every end, queries, broken requests; and what was accepted."""

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Self

import httpx2
import jwt

from tests.system.fuzz.hostile import ENDED, KINDS, SECRET
from tests.system.soak.audit import OVER

JOBS = {  # operations of each kind in sixty
    "soak.quick": 14.0,
    "soak.plain": 5.0,
    "soak.flaky": 4.0,
    "soak.raises": 2.0,
    "soak.refuses": 2.0,
    "soak.mended": 2.0,
    "soak.hangs": 0.5,
    "soak.cancelled": 2.0,
    "soak.apart": 0.1,
    "soak.steps": 6.0,
}
LATER = "scheduled"
OTHERS = {LATER: 3.0, "job": 8.0, "page": 2.0, "health": 1.0, "retry all": 0.1, "broken": 5.0}
BROKEN = (
    "a body that is too large", "deep JSON", "a number of many digits", "a head that does not come", "tokens", "depth",
    "unknown names", "fragments that multiply", "documents at the limits", "binary frames",
    "frames that are no message", "streams opened and left", "connections that come and go",
)  # fmt: skip
AT_ONCE = 100
BACKLOG = 150  # unfinished jobs above which no more are sent: a busy machine does less, and is not flooded
ADMIN = jwt.encode({"sub": "ada", "roles": ["admin"], "exp": time.time() + 86_400}, SECRET, "HS256")
FIELDS = "id status version progress { completed } steps { name status } attempts { number error { code } }"
JOB = f"query ($id: ID!) {{ job(id: $id) {{ {FIELDS} result }} }}"
PAGE = (
    f"query ($handler: [String!]) {{ jobs(first: 30, filter: {{handler: $handler}}) {{ nodes {{ {FIELDS} }} }} "
    "system { counts { status count } queues { depth } } }"
)
CANCEL = "mutation ($id: ID!) { r: cancelJob(input: {id: $id}) { job { status } errors { code } } }"
RETRY = "mutation ($id: ID!) { r: retryJob(input: {id: $id}) { job { status } errors { code } } }"
RETRY_ALL = """mutation { r: retryJobs(input: {filter: {handler: ["soak.raises"], status: [FAILED]}, limit: 5}) {
  count errors { code } } }"""
POLL_S = 0.3
UNFINISHED = "{ system { counts { status count } } }"
WAIT_TIMEOUT_S = 300.0


class Load:
    """Sends operations; `accepted` has the jobs that the client got, `retried` the runs that it began again."""

    def __init__(self, address: str, rate: float, seed: int) -> None:
        self.accepted: Counter[str] = Counter()
        self.retried = 0
        self.operations: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.recent: deque[str] = deque(maxlen=50)  # jobs' ids
        self._address = address
        self._rate = rate
        self.chance = random.Random(seed)
        self._unfinished = 0
        self._numbers = count(time.time_ns() % 10**12 * 1000)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=40)
        headers = {"authorization": f"Bearer {ADMIN}"}
        self._http = httpx2.AsyncClient(timeout=WAIT_TIMEOUT_S, limits=limits, base_url=self._address, headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def run(self, seconds: float) -> None:
        """Send for that long, then wait for all answers."""
        watching = asyncio.create_task(self._watch_backlog())
        names, weights = zip(*(JOBS | OTHERS).items(), strict=True)
        due = time.monotonic()
        end = due + seconds
        while due < end:
            due = max(due + 1 / self._rate, time.monotonic() - 1.0)  # after a pause it does not make up for all of it
            await asyncio.sleep(max(due - time.monotonic(), 0))
            name = self.chance.choices(names, weights)[0]
            held_back = self._unfinished > BACKLOG and name in (*JOBS, LATER)
            if len(self._tasks) < AT_ONCE and not held_back:
                self._begin(name)
        watching.cancel()
        await asyncio.gather(*self._tasks)

    async def _watch_backlog(self) -> None:
        while True:
            with suppress(AssertionError, httpx2.HTTPError):  # an operation that fails is reported
                counts = (await self.ask(UNFINISHED))["system"]["counts"]
                self._unfinished = sum(one["count"] for one in counts if one["status"] not in OVER)
            await asyncio.sleep(1)

    async def ask(self, query: str, **variables: Any) -> Any:
        """Return the data of the answer. Raises AssertionError for errors."""
        response = await self._http.post("/graphql", json={"query": query, "variables": variables})
        answer = response.json()
        assert (response.status_code, "errors" in answer) == (200, False), response.text[:500]
        return answer["data"]

    async def accept(self, handler: str, *, later_s: float = 0.0) -> str:
        """Send the handler's mutation, and return the job's id."""
        name = "".join(part.title() for part in handler.split("."))
        number = next(self._numbers)
        given: dict[str, Any] = {"marker": number % 1_000_000}
        if number % 2:
            given["idempotencyKey"] = f"soak-{number}"
        if later_s:
            given["runAt"] = (datetime.now(UTC) + timedelta(seconds=later_s)).isoformat()
        field = name[0].lower() + name[1:]
        query = f"mutation ($input: {name}Input!) {{ r: {field}(input: $input) {{ job {{ id }} errors {{ code }} }} }}"
        answer = (await self.ask(query, input=given))["r"]
        assert answer["job"] is not None, f"{handler}: {answer}"
        self.accepted[handler] += 1
        return str(answer["job"]["id"])

    async def state(self, job: str, *statuses: str) -> Any:
        """Wait until the job has one of the statuses, and return it."""
        deadline = time.monotonic() + WAIT_TIMEOUT_S
        while True:
            found = (await self.ask(JOB, id=job))["job"]
            if found and found["status"] in statuses:
                return found
            assert time.monotonic() < deadline, f"{job} is not {statuses}: {found}"
            await asyncio.sleep(POLL_S)

    def _begin(self, name: str) -> None:
        self.operations[name] += 1
        task = asyncio.create_task(self._operate(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _operate(self, name: str) -> None:
        try:
            await (self._job(name) if name in JOBS else self._others()[name]())
        except (AssertionError, httpx2.HTTPError, OSError, json.JSONDecodeError) as error:
            self.wrong.append(f"{name}: {type(error).__name__} {error}"[:500])

    async def _job(self, handler: str) -> None:
        job = await self.accept(handler)
        self.recent.append(job)
        if handler == "soak.cancelled":
            await asyncio.sleep(self.chance.uniform(0, 1))  # some of them have begun
            answer = (await self.ask(CANCEL, id=job))["r"]
            assert not answer["errors"], answer
        elif handler == "soak.mended":
            await self.state(job, "FAILED")
            answer = (await self.ask(RETRY, id=job))["r"]
            assert not answer["errors"], answer
            self.retried += 1

    def _others(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            LATER: self._later,
            "job": self._read,
            "page": self._page,
            "health": self._health,
            "retry all": self._retry_all,
            "broken": self._broken,
        }

    async def _later(self) -> None:
        self.recent.append(await self.accept("soak.quick", later_s=self.chance.uniform(0.5, 15)))

    async def _read(self) -> None:
        if self.recent:
            await self.ask(JOB, id=self.chance.choice(self.recent))

    async def _page(self) -> None:
        await self.ask(PAGE, handler=[self.chance.choice(("soak.*", "soak.steps", "*a*", "nobody.*"))])

    async def _health(self) -> None:
        for path in ("/health/ready", "/metrics"):
            response = await self._http.get(path)
            assert response.status_code == 200, f"{path}: {response.status_code} {response.text[:200]}"

    async def _retry_all(self) -> None:
        answer = (await self.ask(RETRY_ALL))["r"]
        assert not answer["errors"], answer
        self.retried += answer["count"]

    async def _broken(self) -> None:
        kind = self.chance.choice(BROKEN)
        status = await KINDS[kind].attack(self._address.removeprefix("http://"), next(self._numbers))
        # The sender gives up after a second, and a busy machine may not have answered by then.
        assert status in {*KINDS[kind].answers, ENDED}, f"{kind}: {status}"
