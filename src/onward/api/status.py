"""The process's health and metrics for machines: /health/live, /health/ready and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from onward.api.base import HttpError
from onward.api.rates import TooManyRequests
from onward.dispatch.readiness import readiness
from onward.graphql.context import Services
from onward.telemetry.metrics import CONTENT_TYPE

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
        is_ready, report = await readiness(found.writer, found.dispatcher, out_of_threads=found.out_of_threads())
        return JSONResponse(report, 200 if is_ready else 503)

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
