"""Sites on which the laws are tried: one for each combination, each worked on by a thread of its own.

Most of a law's time is waiting, so the combinations go through their laws side by side; a test waits for its outcome.
"""

import itertools
import threading
import traceback
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.system.faults.broker import Broker
from tests.system.faults.laws.base import BACKGROUND, DRAMATIQ, ON_POSTGRESQL, Law, Stage
from tests.system.faults.loop import Loop
from tests.system.faults.postgres import Postgres
from tests.system.faults.site import COMBINATIONS, Site
from tests.system.faults.starters import Nursery, Starter

LANES = MappingProxyType({BACKGROUND: 1, DRAMATIQ: 2, ON_POSTGRESQL: 1})  # threads, each with a site of its own


class Rig:
    """Goes through the laws that were asked for, combination by combination."""

    def __init__(self, folder: Path, loop: Loop, starter: Starter) -> None:
        self._folder = folder
        self._loop = loop
        self._starter = starter
        self._stack = ExitStack()
        self._numbers = itertools.count(1)
        self._wanted: dict[str, list[Law]] = defaultdict(list)
        self._outcomes: dict[tuple[str, str], Future[None]] = {}
        self._threads: list[threading.Thread] = []
        self._over = False

    def want(self, law: Law, combination: str) -> None:
        self._wanted[combination].append(law)
        self._outcomes[law.name, combination] = Future()

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._go_through, args=(name,), name=name, daemon=True)
            for name, laws in self._wanted.items()
            for _ in range(min(LANES[name], len(laws)))
        ]
        for thread in self._threads:
            thread.start()

    def outcome(self, law: Law, combination: str) -> None:
        """Raises what the law raised."""
        self._outcomes[law.name, combination].result()

    def close(self) -> None:
        self._over = True
        for thread in self._threads:
            thread.join(120)
        self._stack.close()

    def _go_through(self, name: str) -> None:
        with ExitStack() as stack:
            kept: list[Site] = []
            stack.callback(_close, kept)
            while laws := self._wanted[name]:
                law = laws.pop(0)
                outcome = self._outcomes[law.name, name]
                if self._over:
                    outcome.cancel()
                    continue
                try:
                    if not kept:
                        kept.append(self._site(name, stack))
                        kept[0].start()
                    self._hold(law, kept[0])
                except BaseException as error:  # noqa: BLE001 - the test that waits for it raises it
                    traceback.clear_frames(error.__traceback__)
                    if kept:
                        error.add_note(f"logs of its processes: {kept[0].folder}")
                        kept.pop().close()  # the next law gets a whole one
                    outcome.set_exception(error)
                else:
                    outcome.set_result(None)

    def _hold(self, law: Law, site: Site) -> None:
        others: list[Site] = []

        def make(**options: Any) -> Site:
            others.append(self._another(site, **options))
            return others[-1]

        try:
            law.hold(Stage(site, make))
            site.mend()
            site.settle()
            site.check()
        finally:
            _close(others)

    def _site(self, name: str, stack: ExitStack) -> Site:
        combination = next(one for one in COMBINATIONS if one.name == name)
        folder = self._new_folder(name)
        broker = postgres = None
        if combination.backend == "dramatiq":
            (folder / "redis").mkdir()
            broker = Broker(folder / "redis")
            stack.callback(broker.close)
        if combination.ledger == "postgresql":
            postgres = Postgres()
            stack.callback(postgres.close)
        return Site(
            combination,
            folder,
            self._loop,
            broker=broker,
            postgres=postgres,
            apis=1 if broker else 2,
            threads=4,
            starter=self._starter,
        )

    def _another(self, like: Site, **options: Any) -> Site:
        folder = self._new_folder(like.combination.name)
        return Site(
            like.combination,
            folder,
            self._loop,
            broker=like.broker,
            postgres=like.postgres,
            starter=self._starter,
            **options,
        )

    def _new_folder(self, name: str) -> Path:
        folder = self._folder / f"{name.replace('+', '-')}-{next(self._numbers)}"
        folder.mkdir()
        return folder


def _close(sites: list[Site]) -> None:
    for site in sites:
        site.close()


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Rig]:
    with Loop() as loop, Nursery(loop) as nursery:
        made = Rig(tmp_path_factory.mktemp("faults"), loop, nursery)
        for item in request.session.items:
            if isinstance(item, pytest.Function) and "law" in item.fixturenames:
                wanted: Any = item.callspec.params
                made.want(wanted["law"], wanted["combination"])
        made.start()
        try:
            yield made
        finally:
            made.close()
