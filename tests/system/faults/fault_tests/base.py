"""Fault tests: functions that put an installation under a fault. The final checks always follow."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from tests.system.faults import flows
from tests.system.faults.client import Request
from tests.system.faults.figures import at
from tests.system.faults.final_checks import LOST
from tests.system.faults.installation import Installation
from tests.system.faults.mutation_kinds import Chosen
from tests.system.faults.process import wait_for

BACKGROUND, DRAMATIQ, ON_POSTGRESQL = "background+sqlite", "dramatiq+sqlite", "dramatiq+postgresql"
EVERYWHERE = (BACKGROUND, DRAMATIQ, ON_POSTGRESQL)
BOTH_ENDS = (BACKGROUND, ON_POSTGRESQL, DRAMATIQ)  # first the two that differ most
ON_REDIS = (DRAMATIQ, ON_POSTGRESQL)
ON_SQLITE = (BACKGROUND, DRAMATIQ)
MORE_S = 0.1  # the most by which answers may be slower without Redis
HELD_S = 0.5  # more than that means that the event loop waits for Redis, which has two seconds to answer
MIX = MappingProxyType({"processItem": 4.0, "sendNotification": 3.0, "registerUser": 2.0, "steps": 3.0, "flaky": 0.5})
PARAMS: Mapping[str, Chosen] = MappingProxyType({"steps": {"pause_s": 0.05, "children": 1}, **flows.PARAMS})


@dataclass(frozen=True, slots=True)
class FaultTest:
    """A promise, and the combinations to test it on: by default the first, in a long run all.

    A test of answer times runs `alone`, while the machine does nothing else.
    """

    run: Callable[["Stage"], None]
    combinations: tuple[str, ...] = EVERYWHERE
    alone: bool = False
    quick: int = 1  # the number of combinations that run in a run that is not long
    slow: bool = False  # left out of a quick run, since the conformance suite tests something like it

    @property
    def name(self) -> str:
        return self.run.__name__


@dataclass(slots=True)
class Stage:
    """The parameters of a fault test: an installation, randomness, and a way to make more installations."""

    installation: Installation
    make: Callable[..., Installation]  # another one, closed after the test; takes the arguments of `Installation`
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def pause(self, least_s: float, most_s: float) -> None:
        time.sleep(self.chance.uniform(least_s, most_s))


@contextmanager
def load(installation: Installation, rate: float = 40.0, mix: Mapping[str, float] = MIX) -> Iterator[list[Request]]:
    """Send mutations until the context ends; then the list has the requests of this time."""
    before = len(installation.client.requests)
    sent: list[Request] = []
    installation.client.begin(rate, mix, PARAMS)
    try:
        yield sent
    finally:
        sent += installation.client.end()[before:]


def took_s(requests: list[Request], share: float) -> float:
    """The quantile of the answer times, in seconds."""
    return at(sorted(request.took_s for request in requests if request.job), share)


def answered(requests: list[Request]) -> list[Request]:
    return [request for request in requests if request.job]


def upon_an_answer(installation: Installation) -> None:
    """Wait for the next answer, so that a fault strikes right after it."""
    heard = len(answered(installation.client.requests))
    wait_for(lambda: len(answered(installation.client.requests)) > heard, 30, "an answer")


def is_lost(attempt: list[Any]) -> bool:
    """True if its process was declared dead."""
    return bool(attempt[6]) and attempt[6]["code"] in LOST


def soon(seconds: float) -> str:
    """Return a DateTime that many seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
