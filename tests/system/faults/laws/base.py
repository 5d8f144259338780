"""What a law is: a function that puts a site under a fault; its books are done afterwards in any case."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from tests.system.faults.books import LOST
from tests.system.faults.client import Request
from tests.system.faults.figures import at
from tests.system.faults.kinds import Params
from tests.system.faults.process import wait_for
from tests.system.faults.site import Site

BACKGROUND, DRAMATIQ, ON_POSTGRESQL = "background+sqlite", "dramatiq+sqlite", "dramatiq+postgresql"
EVERYWHERE = (BACKGROUND, DRAMATIQ, ON_POSTGRESQL)
BOTH_ENDS = (BACKGROUND, ON_POSTGRESQL, DRAMATIQ)  # the two that have least in common first
ON_REDIS = (DRAMATIQ, ON_POSTGRESQL)
ON_SQLITE = (BACKGROUND, DRAMATIQ)
MORE_S = 0.1  # an answer may take as much longer while Redis is away
HELD_S = 0.5  # so much only where the event loop waits for Redis: the program gives that two seconds to answer
MIX = MappingProxyType({"processItem": 4.0, "sendNotification": 3.0, "registerUser": 2.0, "steps": 3.0, "flaky": 0.5})
PARAMS: Mapping[str, Params] = MappingProxyType({"steps": {"pause_s": 0.05, "children": 1}})


@dataclass(frozen=True, slots=True)
class Law:
    """A promise, and the combinations that it is tried on: by default on the first, in a long run on all.

    One that says how long an answer may take is tried `alone`, while the machine does nothing else.
    """

    hold: Callable[["Stage"], None]
    combinations: tuple[str, ...] = EVERYWHERE
    alone: bool = False
    quick: int = 1  # of the combinations, so many are always tried

    @property
    def name(self) -> str:
        return self.hold.__name__


@dataclass(slots=True)
class Stage:
    """What a law is given: a whole site, chance, and a way to more sites of the same combination."""

    site: Site
    make: Callable[..., Site]  # another one, closed with the law; takes what `Site` takes
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def pause(self, least_s: float, most_s: float) -> None:
        time.sleep(self.chance.uniform(least_s, most_s))


@contextmanager
def load(site: Site, rate: float = 40.0, mix: Mapping[str, float] = MIX) -> Iterator[list[Request]]:
    """Mutations come in all the while; the requests of this time are in the list at its end."""
    before = len(site.client.requests)
    sent: list[Request] = []
    site.client.begin(rate, mix, PARAMS)
    try:
        yield sent
    finally:
        sent += site.client.end()[before:]


def took_s(requests: list[Request], share: float) -> float:
    """How long that share of the answers takes at most."""
    return at(sorted(request.took_s for request in requests if request.job), share)


def answered(requests: list[Request]) -> list[Request]:
    return [request for request in requests if request.job]


def upon_an_answer(site: Site) -> None:
    """An answer has come in just now: the moment at which a fault finds out what it was worth."""
    heard = len(answered(site.client.requests))
    wait_for(lambda: len(answered(site.client.requests)) > heard, 30, "an answer")


def is_lost(attempt: list[Any]) -> bool:
    """Whether its process was taken for dead."""
    return bool(attempt[6]) and attempt[6]["code"] in LOST


def soon(seconds: float) -> str:
    """A DateTime that much later than now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
