"""Handlers of a project that take secret parameters."""

import logging
from typing import Any

from onward.handlers.base import JobContext, Permanent, Retry, handler, sequence
from onward.worker.step_process import TRACE_CHARACTERS

log = logging.getLogger(__name__)


@handler("tests.pay", secret=frozenset({"card", "limits"}), retry=Retry(max_attempts=1))
async def pay(job: JobContext, *, card: str, name: str, limits: dict[str, int] | None = None) -> dict[str, Any]:
    return {"digits": len(card), "name": name, "limits": sum((limits or {}).values())}


@handler("tests.babble", secret=frozenset({"card"}), retry=Retry(max_attempts=1))
async def babble(job: JobContext, *, card: str, kindly: bool) -> None:
    if kindly:
        raise Permanent(f"the card {card} was declined", code=f"{'X' * 90}{card}")
    raise RuntimeError(f"could not reach https://bank.example/?card={card}")


def tell(job: JobContext, card: str) -> None:
    """Log the card; a line is cut in the middle, and shows no part of it there either."""
    log.warning("card %s of attempt %s", card, job.attempt)
    log.warning("%s%s%s", "x" * 3_960, card, "x" * 9_000)


@handler("tests.tell", secret=frozenset({"card"}), retry=Retry(max_attempts=1))
def tell_here(job: JobContext, *, card: str) -> None:
    tell(job, card)


@handler("tests.tell_apart", secret=frozenset({"card"}), retry=Retry(max_attempts=1), process=True)
def tell_apart(job: JobContext, *, card: str) -> None:
    tell(job, card)


@handler("tests.show", secret=frozenset({"card"}), retry=Retry(max_attempts=1))
async def show(job: JobContext, *, card: str) -> dict[str, Any]:
    job.progress(1, message="x" * 490 + card)
    return {"paid with": [f"card {card}"], card: len(card)}


@handler("tests.show_apart", secret=frozenset({"card"}), retry=Retry(max_attempts=1), process=True)
def show_apart(job: JobContext, *, card: str) -> dict[str, Any]:
    job.progress(1, message="x" * 490 + card)
    return {"paid with": [f"card {card}"], card: len(card)}


@handler("tests.pass_on", secret=frozenset({"card"}), retry=Retry(max_attempts=1))
async def pass_on(job: JobContext, *, card: str, named: bool = False) -> None:
    if named:
        job.dispatch("tests.keep", limits=[{f"limit of {card}": 3}])
    job.dispatch("tests.pay", card=card, name=f"owner of {card}")


@handler("tests.keep")
async def keep(job: JobContext, *, limits: list[dict[str, int]]) -> None:
    pass


@handler("tests.babble_apart", secret=frozenset({"card"}), retry=Retry(max_attempts=1), process=True)
def babble_apart(job: JobContext, *, card: str) -> None:
    """Raise an error whose text is cut in the middle of the card."""
    raise RuntimeError(card + "x" * (TRACE_CHARACTERS - len(card) // 2))


def first(job: JobContext, *, card: str) -> int:
    job.dispatch("tests.pay", card=card, name="child")
    return len(card)


def second(job: JobContext, value: int) -> int:
    return value + 1


HANDLERS = (
    pay,
    babble,
    show,
    show_apart,
    tell_here,
    tell_apart,
    pass_on,
    keep,
    babble_apart,
    sequence("tests.both", [first, second], secret=frozenset({"card"})),
)
