"""A long random campaign: load, random faults, quiet, the final checks, a table."""

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.system.faults import final_checks, flows, shown
from tests.system.faults.broker import Broker
from tests.system.faults.client import Lost
from tests.system.faults.fault_injection import injections
from tests.system.faults.figures import Figures, count
from tests.system.faults.installation import DEADLINE_S, Combination, Installation
from tests.system.faults.loop import Loop
from tests.system.faults.mutation_kinds import Chosen
from tests.system.faults.outages import noted, outages
from tests.system.faults.postgres import Postgres
from tests.system.faults.starters import Nursery

MIX = {
    "processItem": 30,
    "sendNotification": 21,
    "registerUser": 13,
    "steps": 16,
    "flaky": 3,
    "raises": 1,
    "refuses": 1,
    **flows.MIX,
}
PARAMS: Mapping[str, Chosen] = {"steps": {"pause_s": 0.1, "children": 1}, **flows.PARAMS}
QUIET_S = 120.0
SHARE_OF_OUTAGES = 0.35
LONGEST_OUTAGE_S = 12.0
LONG = ("redis down", "redis frozen")  # the first of each in a campaign lasts for a twentieth of it,
LONG_S = 60.0  # which is this in one of twenty minutes

Say = Callable[[str], None]


def run(combination: Combination, *, minutes: float, seed: int, rate: float, say: Say) -> Figures:
    """Run one campaign and return its figures; `breaches` lists its broken promises."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onward-faults-")))
        folder.chmod(0o755)
        loop = stack.enter_context(Loop())
        installation = _installation(combination, folder, loop, seed, stack)
        figures = Figures(combination.name, seed, minutes, rate)
        chance = random.Random(seed)
        installation.start()
        installation.client.begin(rate, MIX, PARAMS)
        installation.flows.begin(seed)
        faults: Counter[str] = Counter()
        failed: list[str] = []
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until:
            try:
                _fault(installation, chance, faults, say, long_s=min(minutes * 60 / 20, LONG_S))
            except AssertionError as error:
                failed.append(f"during the campaign: {error}")
        figures.faults = dict(sorted(faults.items()))
        figures_end(installation, figures, failed, say)
        if figures.breaches:
            kept = Path(tempfile.mkdtemp(prefix="onward-faults-kept-"))
            say(f"logs, journal and ledger are kept in {kept}")
            for path in folder.iterdir():
                if path.is_file():
                    path.rename(kept / path.name)
        return figures


def figures_end(installation: Installation, figures: Figures, failed: list[str], say: Say) -> None:
    """Wait until all is quiet, end the processes, and run the final checks."""
    installation.client.end()
    installation.repair()
    for finish in (installation.flows.end, lambda: say(f"quiet after {installation.wait_for_backlog(QUIET_S):.1f} s")):
        try:
            finish()
        except (AssertionError, Lost) as error:
            failed.append(f"{type(error).__name__}: {error}")
    if not failed:  # else the ledger may not be quiet
        failed += [f"the_numbers_agree: {words}" for words in shown.differences(installation)]
    for process in installation.processes:
        took_s = process.stop()
        if took_s > DEADLINE_S:
            failed.append(f"{process.name} took {took_s:.1f} s to end")
    found = installation.records()
    count(figures, found, installation.outages, [*failed, *final_checks.violations(found)])


def _installation(combination: Combination, folder: Path, loop: Loop, seed: int, stack: ExitStack) -> Installation:
    broker = postgres = None
    if combination.backend == "dramatiq":
        (folder / "redis").mkdir()
        broker = Broker(folder / "redis")
        stack.callback(broker.close)
    if combination.ledger == "postgresql":
        postgres = Postgres()
        stack.callback(postgres.close)
    apis = 1 if broker else 2
    starter = stack.enter_context(Nursery(loop))  # a start is cheap then, and so there is time for more faults
    installation = Installation(
        combination, folder, loop, broker=broker, postgres=postgres, apis=apis, seed=seed, starter=starter
    )
    stack.callback(installation.close)
    return installation


def _fault(installation: Installation, chance: random.Random, faults: Counter[str], say: Say, *, long_s: float) -> None:
    """Inject one fault, sometimes with others during it."""
    time.sleep(chance.uniform(0.2, 2.5))
    if chance.random() < SHARE_OF_OUTAGES:
        name, lasting = chance.choice(sorted(outages(installation).items()))
        length_s = chance.uniform(0.5, LONGEST_OUTAGE_S)
        if name in LONG and not faults[name]:
            length_s = long_s
        say(f"{name} for {length_s:.1f} s")
        faults[name] += 1
        with noted(installation, name, lasting):
            time.sleep(length_s)
    else:
        name, inject = chance.choice(sorted(injections(installation).items()))
        say(name)
        faults[name] += 1
        inject(installation, chance)
    for process in installation.processes:
        if process.tend():
            say(f"{process.name} had ended by itself")
            faults["ended by itself"] += 1


def save(figures: list[Figures], path: Path) -> None:
    path.write_text(json.dumps([one.as_dict() for one in figures], indent=1) + "\n")
