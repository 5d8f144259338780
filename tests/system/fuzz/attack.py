"""Sends hostile cases to a running server and checks its promises."""

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.system.fuzz.cases import Cases

STATUSES = {200, 400, 401, 403, 404, 405, 406, 408, 413, 415, 429}
# 1006: data in transit to a closed socket makes TCP reset it, and may drop the code.
CODES = {1000, 1002, 1006, 1007, 1009, 4400, 4401, 4403, 4408, 4409, 4429}
FRAMES = 12
FRIENDLY = {"query": "{ viewer { roles } }"}
LEAKS = ("Traceback", "sqlite", "psycopg", "SELECT ", ".py", "redis://", "0x7f")


@dataclass
class Outcome:
    """Counts of all answers, and the forbidden answers."""

    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_friendly_s: float = 0.0
    cases: int = 0


async def attack(address: str, cases: int, *, seed: int, until: float | None = None, at_once: int = 8) -> Outcome:
    """Send this many cases, half of them over HTTP; stop early at `until` (time.monotonic())."""
    outcome = Outcome()

    async def one(number: int) -> None:
        source = Cases(seed * 1_000_003 + number)
        limits = httpx2.Limits(max_connections=4)
        async with httpx2.AsyncClient(timeout=60, limits=limits) as http:
            while outcome.cases < cases and (until is None or time.monotonic() < until):
                for _ in range(FRAMES):
                    await _post(http, address, source, outcome)
                await _converse(address, source, outcome)

    async def friend() -> None:
        async with httpx2.AsyncClient(timeout=60) as http:
            while True:
                started = time.monotonic()
                response = await http.post(f"http://{address}/graphql", json=FRIENDLY)
                outcome.slowest_friendly_s = max(outcome.slowest_friendly_s, time.monotonic() - started)
                if response.json() != {"data": {"viewer": {"roles": ["admin"]}}}:
                    outcome.wrong.append(f"a friendly request: {response.status_code} {response.text[:200]}")
                await asyncio.sleep(0.1)

    watching = asyncio.create_task(friend())
    try:
        await asyncio.gather(*(one(number) for number in range(at_once)))
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    return outcome


async def _post(http: httpx2.AsyncClient, address: str, source: Cases, outcome: Outcome) -> None:
    outcome.cases += 1
    body, headers = source.body(), source.headers()
    try:
        async with asyncio.timeout(20):
            async with http.stream("POST", f"http://{address}/graphql", content=body, headers=headers) as response:
                text = ""
                events = response.headers.get("content-type", "").startswith("text/event-stream")
                async for chunk in response.aiter_text():
                    text += chunk
                    if events:  # a stream may go on for ever; its beginning is enough
                        break
    except (TimeoutError, httpx2.HTTPError) as error:
        outcome.wrong.append(f"{type(error).__name__} for {body[:300]!r} {headers}")
        return
    outcome.statuses[response.status_code] += 1
    if response.status_code not in STATUSES or "INTERNAL" in text or any(leak in text for leak in LEAKS):
        outcome.wrong.append(f"{response.status_code} {text[:300]} for {body[:600]!r} {headers}")
    elif not events:
        try:
            json.loads(text)
        except ValueError:
            outcome.wrong.append(f"no JSON: {text[:200]} for {body[:300]!r}")


async def _converse(address: str, source: Cases, outcome: Outcome) -> None:
    sent: list[str | bytes] = []
    try:
        async with (
            asyncio.timeout(30),
            connect(f"ws://{address}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]) as socket,
        ):
            await socket.send('{"type": "connection_init"}')
            await socket.recv()
            reading = asyncio.create_task(_read(socket, outcome, sent))
            with suppress(ConnectionClosed):
                for _ in range(FRAMES):
                    sent.append(source.frame())
                    await socket.send(sent[-1])
                    outcome.cases += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(reading, 0.1)
        outcome.codes[socket.close_code or 0] += 1
        if socket.close_code not in CODES:
            outcome.wrong.append(f"closed with {socket.close_code} after {sent!r:.600}")
    except (TimeoutError, OSError, InvalidStatus, ConnectionClosed) as error:
        outcome.wrong.append(f"{type(error).__name__} {error} after {sent!r:.600}")


async def _read(socket: object, outcome: Outcome, sent: list[str | bytes]) -> None:
    with suppress(ConnectionClosed):
        async for frame in socket:  # type: ignore[attr-defined]
            if not isinstance(frame, str) or "INTERNAL" in frame or any(leak in frame for leak in LEAKS):
                outcome.wrong.append(f"{frame!r:.300} after {sent!r:.600}")
