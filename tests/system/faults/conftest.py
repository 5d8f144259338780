"""Installations for the fault tests: one for each combination, each with its own thread.

Most of a test's time is waiting, so the combinations run their tests in parallel; a test waits for its outcome.
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
from tests.system.faults.fault_tests.base import BACKGROUND, DRAMATIQ, ON_POSTGRESQL, FaultTest, Stage
from tests.system.faults.installation import COMBINATIONS, Installation
from tests.system.faults.loop import Loop
from tests.system.faults.postgres import Postgres
from tests.system.faults.starters import Nursery, Starter

LANES = MappingProxyType({BACKGROUND: 1, DRAMATIQ: 2, ON_POSTGRESQL: 1})  # threads, each with its own installation


class FaultTestRunner:
    """Runs the selected fault tests, combination by combination."""

    def __init__(self, folder: Path, loop: Loop, starter: Starter) -> None:
        self._folder = folder
        self._loop = loop
        self._starter = starter
        self._stack = ExitStack()
        self._numbers = itertools.count(1)
        self._wanted: dict[str, list[FaultTest]] = defaultdict(list)
        self._outcomes: dict[tuple[str, str], Future[None]] = {}
        self._threads: list[threading.Thread] = []
        self._over = False

    def want(self, fault_test: FaultTest, combination: str) -> None:
        self._wanted[combination].append(fault_test)
        self._outcomes[fault_test.name, combination] = Future()

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._go_through, args=(name,), name=name, daemon=True)
            for name, fault_tests in self._wanted.items()
            for _ in range(min(LANES[name], len(fault_tests)))
        ]
        for thread in self._threads:
            thread.start()

    def outcome(self, fault_test: FaultTest, combination: str) -> None:
        """Raise the exception of the fault test, if it raised one."""
        self._outcomes[fault_test.name, combination].result()

    def close(self) -> None:
        self._over = True
        for thread in self._threads:
            thread.join(120)
        self._stack.close()

    def _go_through(self, name: str) -> None:
        with ExitStack() as stack:
            kept: list[Installation] = []
            stack.callback(_close, kept)
            while fault_tests := self._wanted[name]:
                fault_test = fault_tests.pop(0)
                outcome = self._outcomes[fault_test.name, name]
                if self._over:
                    outcome.cancel()
                    continue
                try:
                    if not kept:
                        kept.append(self._site(name, stack))
                        kept[0].start()
                    self._run_test(fault_test, kept[0])
                except BaseException as error:  # noqa: BLE001 - the test that waits for it raises it
                    traceback.clear_frames(error.__traceback__)
                    if kept:
                        error.add_note(f"logs of its processes: {kept[0].folder}")
                        kept.pop().close()  # the next test gets a new one
                    outcome.set_exception(error)
                else:
                    outcome.set_result(None)

    def _run_test(self, fault_test: FaultTest, installation: Installation) -> None:
        others: list[Installation] = []

        def make(**options: Any) -> Installation:
            others.append(self._another(installation, **options))
            return others[-1]

        try:
            fault_test.run(Stage(installation, make))
            installation.repair()
            installation.wait_for_jobs()
            installation.check()
        finally:
            _close(others)

    def _site(self, name: str, stack: ExitStack) -> Installation:
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
        return Installation(
            combination,
            folder,
            self._loop,
            broker=broker,
            postgres=postgres,
            apis=1 if broker else 2,
            threads=4,
            starter=self._starter,
        )

    def _another(self, like: Installation, **options: Any) -> Installation:
        folder = self._new_folder(like.combination.name)
        return Installation(
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


def _close(installations: list[Installation]) -> None:
    for installation in installations:
        installation.close()


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[FaultTestRunner]:
    with Loop() as loop, Nursery(loop) as nursery:
        made = FaultTestRunner(tmp_path_factory.mktemp("faults"), loop, nursery)
        for item in request.session.items:
            if isinstance(item, pytest.Function) and "fault_test" in item.fixturenames:
                wanted: Any = item.callspec.params
                made.want(wanted["fault_test"], wanted["combination"])
        made.start()
        try:
            yield made
        finally:
            made.close()
