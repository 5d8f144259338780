"""Subscribers whose server is killed, or the runner of their job."""

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from tests.system.faults.fault_tests.base import BOTH_ENDS, FaultTest, Stage, load
from tests.system.faults.flow_handlers import STREAMED
from tests.system.faults.installation import Installation
from tests.system.faults.process import wait_for

RECONNECT_S = 0.1
OUTPUT = "subscription($id: ID!, $after: Int) { jobOutput(id: $id, after: $after) { offset attempt data } }"
UPDATES = "subscription($after: String) { jobsUpdated(afterChange: $after) { id version status change } }"


class Watcher:
    """Keeps the rows of all jobs as a page does. It connects to the servers in turn, and goes on from its last row."""

    def __init__(self, ports: Sequence[int], change: str) -> None:
        self.rows: dict[str, tuple[int, str]] = {}
        self.cuts = 0
        self.went_back: list[str] = []
        self._ports = itertools.cycle(ports)
        self._change = change

    async def run(self) -> None:
        while True:
            try:
                await self._follow(next(self._ports))
            except (OSError, WebSocketException, TimeoutError):
                self.cuts += 1
                await asyncio.sleep(RECONNECT_S)

    async def _follow(self, port: int) -> None:
        async with aclosing(_messages(port, UPDATES, {"after": self._change})) as messages:
            async for message in messages:
                if message["type"] == "next":
                    self._take(message["payload"]["data"]["jobsUpdated"])

    def _take(self, job: Any) -> None:
        if job["version"] < self.rows.get(job["id"], (0, ""))[0]:
            self.went_back.append(job["id"])
        self.rows[job["id"]] = (job["version"], job["status"])
        self._change = job["change"]


async def _messages(port: int, query: str, variables: Any) -> AsyncGenerator[Any, None]:
    """Yield the messages of a subscription, until the connection ends. Raises what `connect` raises."""
    url, protocol = f"ws://127.0.0.1:{port}/graphql", Subprotocol("graphql-transport-ws")
    async with connect(url, subprotocols=[protocol], max_size=None) as socket:
        await socket.send(json.dumps({"type": "connection_init"}))
        await socket.recv()
        payload = {"query": query, "variables": variables}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        async for message in socket:
            yield json.loads(message)


class Reader:
    """Reads the output of one job, and comes back with the offset of its last chunk."""

    def __init__(self, ports: Sequence[int], job: str) -> None:
        self.job = job
        self.chunks: list[Any] = []
        self.cuts = 0
        self._ports = itertools.cycle(ports)

    async def run(self) -> None:
        while True:
            try:
                if await self._follow(next(self._ports)):
                    return
            except (OSError, WebSocketException, TimeoutError):
                pass
            self.cuts += 1
            await asyncio.sleep(RECONNECT_S)

    async def _follow(self, port: int) -> bool:
        """Return whether the stream came to its end."""
        variables = {"id": self.job, "after": self.chunks[-1]["offset"] if self.chunks else None}
        async with aclosing(_messages(port, OUTPUT, variables)) as messages:
            async for message in messages:
                if message["type"] == "complete":
                    return True
                if message["type"] != "next" or not message["payload"].get("data"):
                    return False  # UNAVAILABLE, of a server that is about to end
                self.chunks.append(message["payload"]["data"]["jobOutput"])
        return False


@contextmanager
def watched(installation: Installation) -> Iterator[Watcher]:
    change = installation.client.ask("{ jobs(first: 0) { change } }")["jobs"]["change"]
    watcher = Watcher(installation.ports, change)
    task = installation.loop.spawn(watcher.run())
    try:
        yield watcher
        assert not task.done(), task.exception()
    finally:
        task.cancel()


def a_subscriber_of_a_killed_api_misses_nothing(stage: Stage) -> None:
    """The subscriber comes back to a new process, or to another one, with the change that it has seen last."""
    installation = stage.installation
    with watched(installation) as watcher:
        with load(installation) as sent:
            for process in installation.apis:  # each, since the subscriber is at one of them
                stage.pause(0.3, 0.5)
                process.kill()
                stage.pause(0.1, 0.3)
                process.start()
        installation.wait_for_jobs()
        jobs = {request.job for request in sent if request.job}
        wait_for(lambda: _ends(installation, watcher, jobs) == [], 30, "the subscriber has seen every end")
    assert watcher.cuts, "no connection was ever cut"
    assert watcher.went_back == []


def _ends(installation: Installation, watcher: Watcher, jobs: set[str]) -> list[str]:
    """Return the jobs whose row is another one in the ledger."""
    found = installation.ledger.rows("SELECT id, version, status FROM _ledger.jobs")
    return [job for job, *row in found if job in jobs and watcher.rows.get(job) != tuple(row)]


def a_stream_that_a_kill_has_cut_goes_on_at_its_offset(stage: Stage) -> None:
    """Runners and servers are killed in the middle of streams; each reader has every chunk once, and finished steps."""
    installation = stage.installation
    sent = installation.client.send("streams", 6, params={"pause_s": 0.05})
    readers = [Reader(installation.ports, request.job) for request in sent if request.job]
    tasks = [installation.loop.spawn(reader.run()) for reader in readers]
    for processes in (installation.runners, installation.apis):
        wait_for(lambda: all(reader.chunks for reader in readers), 30, "every stream has begun")
        stage.pause(0.5, 1.0)
        for process in processes:
            process.kill()
        for process in processes:
            process.start()
    installation.wait_for_jobs()
    wait_for(lambda: all(task.done() for task in tasks), 30, "every stream has ended")
    for task in tasks:
        task.result()
    assert sum(reader.cuts for reader in readers), "no stream was ever cut"
    assert any(reader.chunks[-1]["attempt"] > 1 for reader in readers), "no attempt was ever killed"
    for reader in readers:
        offsets = [chunk["offset"] for chunk in reader.chunks]
        assert offsets == list(range(len(offsets))), f"{reader.job} has its chunks at {offsets}"
        _check_steps(reader)


def _check_steps(reader: Reader) -> None:
    """Each step's last attempt is whole, and those before it are its beginning: it had not finished."""
    said = defaultdict[str, dict[int, list[int]]](lambda: defaultdict(list))
    for chunk in reader.chunks:
        said[chunk["data"]["step"]][chunk["attempt"]].append(chunk["data"]["n"])
    assert list(said) == ["draft", "polish"]
    for step, attempts in said.items():
        *cut, last = attempts.values()
        assert last == list(range(STREAMED)), f"{step} of {reader.job} has emitted {last}"
        assert all(some == list(range(len(some))) for some in cut), f"{step} of {reader.job} has emitted {cut}"


FAULT_TESTS = (
    FaultTest(a_subscriber_of_a_killed_api_misses_nothing, BOTH_ENDS, slow=True),
    FaultTest(a_stream_that_a_kill_has_cut_goes_on_at_its_offset, BOTH_ENDS, slow=True),
)
