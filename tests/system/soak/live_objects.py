"""Counts of the live objects of a server, by a query and by a job: a module for [gql] of the soak's project."""

import asyncio
import gc
from collections import Counter
from itertools import chain
from types import CoroutineType, FrameType, TracebackType

import strawberry
from strawberry.scalars import JSON

OF_JOBS = (asyncio.Task, BaseException, CoroutineType, FrameType, TracebackType)


def count_live_objects() -> dict[str, int]:
    """Count all objects that the collector knows, and those that a job leaves behind where something holds it.

    Garbage that has not been collected yet counts, too: it takes memory like all else.
    """
    # In one call, so that no other thread runs meanwhile: a reference to a tuple that one is about to make of a
    # generator fails it with a SystemError.
    found = Counter(list(map(type, chain.from_iterable(map(gc.get_objects, [None])))))
    kept = sum(n for kind, n in found.items() if issubclass(kind, OF_JOBS) or kind.__module__.startswith("onward."))
    return {"objects": found.total(), "of jobs": kept}


@strawberry.type
class Query:
    """The additions to the schema."""

    @strawberry.field
    async def live_objects(self) -> JSON:
        """Count the live objects of the process that answers."""
        return JSON(await asyncio.to_thread(count_live_objects))
