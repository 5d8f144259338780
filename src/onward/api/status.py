"""The process's health and metrics for machines: /health/live, /health/ready and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from onward.api.base import HttpError
from onward.api.rates import TooManyRequests
from onward.backends.base import Health
from onward.graphql.context import Services
from onward.storage.base import FileReplaced, Unavailable
from onward.telemetry.metrics import CONTENT_TYPE

PROBE_TIMEOUT_S = 3.0
FILE_REPLACED = "its file was moved, deleted or replaced while in use; the log names it"
DISK_FULL = "its disk is full, and nothing is written: free some space"
Guard = Callable[[Request], Awaitable[bool]]
"""True if the caller may see metrics. Raises HttpError."""


def routes(
    services_of: Callable[[Request], Services], sees_metrics: Guard, *, own_metrics: bool = True
) -> list[BaseRoute]:
    """The routes. `services_of` finds the application's services by a request.

    Without `own_metrics` the counters of this process are left out: where several processes share the port, each
    scrape would reach another one.
    """
    scrape: asyncio.Future[bytes] | None = None

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        found = services_of(request)
        ledger, health = await asyncio.gather(_ledger_works(found), _health(found))
        backends = {name: one.reachable for name, one in health.items()}
        exhausted = found.out_of_threads()
        reasons = {name: one.reason for name, one in sorted(health.items()) if one.reason}
        if _file_is_replaced(found):
            reasons["ledger"] = FILE_REPLACED
        elif found.writer.disk_is_full:
            reasons["ledger"] = DISK_FULL
        fine = ledger and all(backends.values()) and not exhausted
        report = {
            "status": "ok" if fine else "unavailable",
            "ledger": _word(up=ledger),
            "backends": {name: _word(up=up) for name, up in sorted(backends.items())},
            "threads": "exhausted" if exhausted else "ok",
            **({"reasons": reasons} if reasons else {}),
        }
        return JSONResponse(report, 200 if fine else 503)

    async def metrics(request: Request) -> Response:
        nonlocal scrape
        try:
            admitted = await sees_metrics(request)
        except TooManyRequests as refused:
            return PlainTextResponse(f"# {refused}\n", refused.status, headers={"Retry-After": str(refused.wait_s)})
        except HttpError as refused:
            return PlainTextResponse(f"# {refused}\n", refused.status)
        if not admitted:
            words = "# a viewer with the role admin is needed, in mode jwt by a bearer token\n"
            return PlainTextResponse(words, 401, headers={"WWW-Authenticate": "Bearer"})
        # One read for all who ask meanwhile, so that a ledger that hangs occupies one thread at most.
        if scrape is None or scrape.done():
            read = asyncio.to_thread(services_of(request).metrics.text, own=own_metrics)
            scrape = asyncio.ensure_future(read)
        return Response(await asyncio.shield(scrape), media_type=CONTENT_TYPE)

    return [
        Route("/health/live", live, methods=["GET"]),
        Route("/health/ready", ready, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


def _word(*, up: bool) -> str:
    return "ok" if up else "unreachable"


async def _ledger_works(services: Services) -> bool:
    """True if the ledger can be read, and its last write succeeded: a full disk still allows reads."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await services.database.read(lambda tx: tx.now)
    except (Unavailable, TimeoutError):
        return False
    return not services.writer.failing and not _file_is_replaced(services)


def _file_is_replaced(services: Services) -> bool:
    try:
        services.database.driver.verify()
    except FileReplaced:
        return True
    return False


async def _health(services: Services) -> dict[str, Health]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await services.dispatcher.health()
    except TimeoutError:
        return dict.fromkeys(services.dispatcher.backends, Health(reachable=False))
