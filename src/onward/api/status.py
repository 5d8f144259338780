"""How the process is, told to machines: /health/live, /health/ready and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from onward.api.rates import TooManyRequests
from onward.graphql.context import Services
from onward.storage.base import Unavailable
from onward.telemetry.metrics import CONTENT_TYPE

PROBE_TIMEOUT_S = 3.0


def routes(
    parts: Callable[[Request], Services], admits: Callable[[Request], bool], *, alone: bool = True
) -> list[BaseRoute]:
    """The routes. `parts` finds the application's parts by a request, `admits` tells who may see figures of all.

    `admits` raises TooManyRequests where somebody asks too often.

    Where the process is not `alone` on its port, one or another would answer with counters of its own: they are left
    out.
    """
    asked: asyncio.Future[bytes] | None = None

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        found = parts(request)
        ledger, backends = await asyncio.gather(_answers(found), _reachable(found))
        fine = ledger and all(backends.values())
        told = {
            "status": "ok" if fine else "unavailable",
            "ledger": _word(up=ledger),
            "backends": {name: _word(up=up) for name, up in sorted(backends.items())},
        }
        return JSONResponse(told, 200 if fine else 503)

    async def metrics(request: Request) -> Response:
        nonlocal asked
        try:
            admitted = admits(request)
        except TooManyRequests as refused:
            return PlainTextResponse(f"# {refused}\n", refused.status, headers={"Retry-After": str(refused.wait_s)})
        if not admitted:
            words = "# a bearer token with the role admin is needed\n"
            return PlainTextResponse(words, 401, headers={"WWW-Authenticate": "Bearer"})
        # One question for all who ask meanwhile: while the ledger hangs, no more than one thread does.
        if asked is None or asked.done():
            asked = asyncio.ensure_future(asyncio.to_thread(parts(request).metrics.text, own=alone))
        return Response(await asyncio.shield(asked), media_type=CONTENT_TYPE)

    return [
        Route("/health/live", live, methods=["GET"]),
        Route("/health/ready", ready, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


def _word(*, up: bool) -> str:
    return "ok" if up else "unreachable"


async def _answers(parts: Services) -> bool:
    """Whether the ledger can be read, and could be written a moment ago: a full disk lets through reads alone."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await parts.database.read(lambda tx: tx.now)
    except (Unavailable, TimeoutError):
        return False
    return not parts.writer.failing


async def _reachable(parts: Services) -> dict[str, bool]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            health = await parts.dispatcher.health()
    except TimeoutError:
        return dict.fromkeys(parts.dispatcher.backends, False)
    return {name: found.reachable for name, found in health.items()}
