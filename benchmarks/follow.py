"""Subscribers, each on its own job; prints how old each last frame was.

`python -m benchmarks.follow PORT COUNT SECONDS`
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from benchmarks.graphql import Caller, body

PAUSE = "mutation($seconds: Float!) { pause(seconds: $seconds) }"
FOLLOW = "subscription($id: ID!) { jobUpdated(id: $id) { id version status result } }"
MAX_OPENING = 50


class Followers:
    """All subscribers of this process, and the delays that they saw."""

    def __init__(self, port: int, count: int) -> None:
        self._url = f"ws://127.0.0.1:{port}/graphql"
        self._slots = asyncio.Semaphore(MAX_OPENING)
        self._waiting = count
        self.all_ready = asyncio.Event()

    async def follow(self, job_id: str) -> float:
        """Return the milliseconds from the end of the job to its last frame."""
        async with self._slots:
            socket = await connect(self._url, subprotocols=[Subprotocol("graphql-transport-ws")], ping_interval=None)
            await socket.send(json.dumps({"type": "connection_init"}))
            await socket.recv()
            payload = {"query": FOLLOW, "variables": {"id": job_id}}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            await socket.recv()  # the job as it is now
        self._waiting -= 1
        if self._waiting == 0:
            self.all_ready.set()
        while True:
            message = json.loads(await socket.recv())
            arrived = time.monotonic()
            if message["type"] != "next":
                raise RuntimeError(f"the subscription ended with {message}")
            job = message["payload"]["data"]["jobUpdated"]
            if job["status"] == "SUCCEEDED":
                await socket.close()
                return float((arrived - job["result"]) * 1000)


async def main(port: int, count: int, seconds: float) -> None:
    caller = Caller(port)
    jobs = [caller.post(body(PAUSE, seconds=seconds))["pause"] for _ in range(count)]
    followers = Followers(port, count)
    following = [asyncio.create_task(followers.follow(job_id)) for job_id in jobs]
    ready = asyncio.create_task(followers.all_ready.wait())
    await asyncio.wait([ready, *following], return_when=asyncio.FIRST_COMPLETED)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdout.write(json.dumps(await asyncio.gather(*following)))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
