"""The flows of a campaign: their mutations, and a thread that signals the jobs that wait and changes schedules."""

import random
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.system.faults.client import Client, Lost, Request
from tests.system.faults.ledger import OVER, Ledger
from tests.system.faults.mutation_kinds import Chosen, Params
from tests.system.faults.records import Signal

MIX: Mapping[str, float] = MappingProxyType(
    {"batch": 1, "waits": 3, "streams": 2, "sole": 3, "keyed": 2, "paired": 2, "rated": 2, "put_off": 2, "fleeting": 2}
)  # of a hundred mutations
SCHEDULES = ("one", "two", "three")
EVERY_SECOND = "* * * * * *"
LOOK_S = 0.02
LATEST_S = 3.0  # after its answer, a waiting job is signalled
CHANGES_S = 0.3, 3.0  # between two changes of schedules
SIGNAL = """mutation($id: ID!, $to: JSON) {
  r: signalJob(input: {id: $id, name: "decision", payload: $to}) { errors { code } }
}"""
WAITING = f"SELECT id FROM _ledger.jobs WHERE handler = 'faults.waits' AND status NOT IN {OVER}"


def _batch(chance: random.Random) -> Params:
    return {
        "parts": chance.randint(0, 9),
        "failing": chance.choice((0, 0, 1, 2)),
        "stops": chance.random() < 0.5,
        "nested": chance.random() < 0.5,
    }


def _customer(chance: random.Random) -> Params:
    return {"customer": chance.choice(("ann", "ben", "eve"))}


PARAMS: Mapping[str, Chosen] = MappingProxyType(
    {
        "batch": _batch,
        "waits": {"pause_s": 0.02},
        "streams": {"pause_s": 0.005},
        "sole": lambda chance: {"name": chance.choice(("red", "green", "blue"))},
        "keyed": _customer,
        "paired": _customer,
        "rated": _customer,
        "put_off": lambda chance: {"name": chance.choice(("red", "green"))},
    }
)


class Flows:
    """Signals each waiting job, some before they wait and some twice, and pauses, deletes and makes schedules."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self.signals: list[Signal] = []  # those that were answered, in their order
        self._client = client
        self._ledger = ledger
        self._chance = random.Random()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: list[BaseException] = []
        self._payloads: dict[str, int] = {}  # the first of each job, also where its answer was lost
        self._read = 0  # requests of the client
        self._unanswered: list[Request] = []
        self._due: list[tuple[float, str, bool]] = []  # the moment of a signal, its job, and whether it is early
        self._change_at = 0.0

    def begin(self, seed: int) -> None:
        """Make the schedules, and start the thread; again after each `end`. Raises Lost."""
        self._chance.seed(seed)
        self._over.clear()
        self._read = len(self._client.requests)
        for name in SCHEDULES:
            change_schedule(self._client, "createSchedule", name)
            change_schedule(self._client, "resumeSchedule", name)  # an earlier end has paused it
        self._thread = threading.Thread(target=self._run, name="flows", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop the thread, pause the schedules, and signal every job that still waits.

        Call it when nothing is sent any more and all processes are up. Raises Lost, and what has failed in the thread.
        """
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        if self._failed:
            raise self._failed[0]
        for name in SCHEDULES:
            change_schedule(self._client, "pauseSchedule", name)
        signalled = {signal.job for signal in self.signals}
        for (job,) in self._ledger.rows(WAITING):  # among them are those whose id was lost with its answer
            if job not in signalled:
                self._signal(job, early=False)

    def _run(self) -> None:
        try:
            while not self._over.wait(LOOK_S):
                self._look()
        except BaseException as error:  # noqa: BLE001 - `end` raises it
            self._failed.append(error)

    def _look(self) -> None:
        new = self._client.requests[self._read :]
        self._read += len(new)
        self._unanswered += [request for request in new if request.kind.name == "waits"]
        now = time.monotonic()
        for request in self._unanswered:
            if request.job:
                early = self._chance.random() < 0.5
                self._due.append((now + (0.0 if early else self._chance.uniform(0.3, LATEST_S)), request.job, early))
        self._unanswered = [request for request in self._unanswered if not request.job]
        due = [one for one in self._due if one[0] <= now]
        self._due = [one for one in self._due if one[0] > now]
        for _, job, early in due:
            self._signal(job, early=early)
        if now > self._change_at:
            self._change_a_schedule()
            self._change_at = time.monotonic() + self._chance.uniform(*CHANGES_S)

    def _signal(self, job: str, *, early: bool) -> None:
        """Send a signal until it is answered, and then, of some jobs, it or another one once more."""
        payload = self._payloads.setdefault(job, self._chance.randrange(1_000_000))
        wanted = [payload]
        if self._chance.random() < 0.3:
            wanted.append(self._chance.choice((payload, payload + 1)))
        for each in wanted:
            try:
                codes = self._client.mutate(SIGNAL, {"id": job, "to": each})
            except Lost:
                return  # in a long outage; the end makes up for it
            self.signals.append(Signal(job, each, codes, early))

    def _change_a_schedule(self) -> None:
        name = self._chance.choice(SCHEDULES)
        try:
            for mutation in self._chance.choice((("pause", "resume"), ("delete", "create"))):
                change_schedule(self._client, f"{mutation}Schedule", name)
        except Lost:
            return


def change_schedule(client: Client, mutation: str, name: str) -> None:
    """Send the mutation until it is answered. Raises Lost.

    One whose answer was lost before may say that the schedule is there, or gone.
    """
    given: dict[str, Any] = {"name": name}
    if mutation == "createSchedule":
        given |= {"cron": EVERY_SECOND, "handler": "faults.tick", "params": {"schedule": name}}
    type_ = "CreateScheduleInput" if mutation == "createSchedule" else "ScheduleNameInput"
    query = f"mutation($input: {type_}!) {{ r: {mutation}(input: $input) {{ errors {{ code }} }} }}"
    codes = client.mutate(query, {"input": given})
    done = "ALREADY_EXISTS" if mutation == "createSchedule" else "NOT_FOUND"
    assert codes in ([], [done]), f"{mutation} of {name}: {codes}"
