"""Handlers whose mutations fail for reasons of their own."""

from __future__ import annotations

from onward import JobContext, Mutation, Viewer, handler

INTERNAL = "redis://user:hunter2@10.0.0.7/0"


def _raises(_viewer: Viewer) -> bool:
    raise RuntimeError(INTERNAL)


@handler("broken.guard", mutation=Mutation(allow=_raises))
async def guard(job: JobContext) -> None: ...
