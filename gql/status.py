"""How the process is, told to machines: /health/live, /health/ready and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from gql.context import Parts
from jobs.model import Visible
from storage.base import Unavailable

PATIENCE_S = 3.0
ALL = Visible(everything=True)


def routes(parts: Callable[[Request], Parts], admits: Callable[[Request], bool]) -> list[BaseRoute]:
    """The routes. `parts` finds the application's parts by a request, `admits` tells who may see figures of all."""

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
        if not admits(request):
            words = "# a bearer token with the role admin is needed\n"
            return PlainTextResponse(words, 401, headers={"WWW-Authenticate": "Bearer"})
        try:
            text = await _measured(parts(request))
        except Unavailable:
            return PlainTextResponse("# the ledger does not answer\n", 503)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return [
        Route("/health/live", live, methods=["GET"]),
        Route("/health/ready", ready, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


def _word(*, up: bool) -> str:
    return "ok" if up else "unreachable"


async def _answers(parts: Parts) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await parts.database.read(lambda tx: tx.now)
    except (Unavailable, TimeoutError):
        return False
    return True


async def _reachable(parts: Parts) -> dict[str, bool]:
    try:
        async with asyncio.timeout(PATIENCE_S):
            health = await parts.dispatcher.health()
    except TimeoutError:
        return dict.fromkeys(parts.dispatcher.backends, False)
    return {name: found.reachable for name, found in health.items()}


async def _measured(parts: Parts) -> str:
    """Prometheus's text format. Raises Unavailable."""
    counts = await parts.counts.of(ALL)
    health = sorted((await parts.dispatcher.health()).items())
    rows: dict[tuple[str, str], list[tuple[str, float]]] = {
        ("onward_jobs", "Jobs in the ledger."): [(f'status="{status}"', counts[status]) for status in counts],
        ("onward_backend_up", "Whether the backend can be reached."): [
            (f'backend="{name}"', int(found.reachable)) for name, found in health
        ],
        ("onward_backend_depth", "Jobs that wait for the backend."): [
            (f'backend="{name}"', found.depth) for name, found in health if found.depth is not None
        ],
        ("onward_backend_oldest_seconds", "How long the oldest of them has waited."): [
            (f'backend="{name}"', found.oldest_age_s) for name, found in health if found.oldest_age_s is not None
        ],
    }
    lines = []
    for (name, help_), values in rows.items():
        lines += [f"# HELP {name} {help_}", f"# TYPE {name} gauge"]
        lines += [f"{name}{{{labels}}} {value}" for labels, value in values]
    return "\n".join(lines) + "\n"
