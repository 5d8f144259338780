"""Subscribers whose server is killed."""

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from tests.system.faults.fault_tests.base import BOTH_ENDS, FaultTest, Stage, load
from tests.system.faults.installation import Installation
from tests.system.faults.process import wait_for

RECONNECT_S = 0.1
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
        url, protocol = f"ws://127.0.0.1:{port}/graphql", Subprotocol("graphql-transport-ws")
        async with connect(url, subprotocols=[protocol], max_size=None) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            await socket.recv()
            payload = {"query": UPDATES, "variables": {"after": self._change}}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            async for message in socket:
                if (found := json.loads(message))["type"] == "next":
                    self._take(found["payload"]["data"]["jobsUpdated"])

    def _take(self, job: Any) -> None:
        if job["version"] < self.rows.get(job["id"], (0, ""))[0]:
            self.went_back.append(job["id"])
        self.rows[job["id"]] = (job["version"], job["status"])
        self._change = job["change"]


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


FAULT_TESTS = (FaultTest(a_subscriber_of_a_killed_api_misses_nothing, BOTH_ENDS),)
