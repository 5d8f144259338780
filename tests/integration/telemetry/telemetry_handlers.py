"""A project's handlers, which log, dispatch, fail and block."""

import asyncio
import logging
import time
from datetime import timedelta

import structlog

from onward.handlers.base import JobContext, Permanent, Retry, handler, sequence


async def on_the_loop(job: JobContext) -> None:
    structlog.get_logger("shop").info("from a coroutine")
    await asyncio.sleep(0)
    logging.getLogger("shop").warning("from the standard library")


def in_a_thread(job: JobContext, value: None) -> None:
    structlog.get_logger("shop").info("from a thread")


talk = sequence("tests.talk", [on_the_loop, in_a_thread])


@handler("tests.further")
async def further(job: JobContext) -> str:
    return job.dispatch("tests.talk")


@handler("tests.fail", retry=Retry(max_attempts=1))
async def fail(job: JobContext, *, word: str) -> None:
    raise Permanent(f"it cannot be: {word}", code="NO_STOCK")


@handler("tests.unsure", retry=Retry(base=timedelta(0)))
async def unsure(job: JobContext) -> None:
    if job.attempt == 1:
        raise ConnectionError


@handler("tests.block")
async def block(job: JobContext, *, seconds: float) -> None:
    await asyncio.sleep(0)
    time.sleep(seconds)  # noqa: ASYNC251 - blocks for the watchdog


HANDLERS = (talk, further, fail, unsure, block)
