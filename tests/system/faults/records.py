"""All records of an installation at its end: answers, ledger, effects, and the handlers that made them."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from onward.handlers.base import Handler
from tests.system.faults import fault_handlers, flow_handlers, journal
from tests.system.faults.client import Request
from tests.system.faults.journal import Line
from tests.system.faults.ledger import Batch, Change, Chunk, Ledger, Row
from tests.system.faults.process import End

HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        one.name: one
        for module in (fault_handlers, flow_handlers)
        for one in vars(module).values()
        if isinstance(one, Handler)
    }
)


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that was answered."""

    job: str
    payload: int
    codes: list[str]  # of the answer's errors
    early: bool  # sent as soon as the job was accepted


@dataclass(slots=True)
class Records:
    """All records at the end; read while the ledger is quiet."""

    requests: list[Request]
    jobs: dict[str, Row]
    changes: list[Change]
    lines: list[Line]
    messages: Counter[str]  # by job
    notifications: Counter[str]
    items: set[str]
    users: set[str]
    ends: list[End]
    history: Counter[tuple[str, str]]  # by handler and name of the figure
    batches: list[Batch]
    output: list[Chunk]
    ticks: list[str]  # the job of each
    signals: list[Signal]
    journeys: dict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))
    born: dict[str, int] = field(default_factory=dict)  # the place of each job's first change among all changes
    ended: dict[str, int] = field(default_factory=dict)  # and of its last one

    def __post_init__(self) -> None:
        for place, change in enumerate(self.changes):
            self.journeys[change.job].append(change)
            self.born.setdefault(change.job, place)
            self.ended[change.job] = place

    @property
    def begins(self) -> list[Line]:
        return [line for line in self.lines if line.what == "begin"]


def read(
    folder: Path,
    ledger: Ledger,
    requests: list[Request],
    ends: list[End],
    *,
    mailed: Counter[str] | None = None,
    signals: Sequence[Signal] = (),
) -> Records:
    """Read the records of a project folder whose ledger is quiet."""
    mail, log = folder / "var" / "mail", folder / "var" / "notifications.jsonl"
    return Records(
        requests=list(requests),
        jobs=ledger.jobs(),
        changes=ledger.changes(),
        lines=journal.read(folder / "journal"),
        messages=Counter(path.stem for path in mail.glob("*.eml")) + (mailed or Counter()),
        notifications=Counter(json.loads(line)["job"] for line in log.read_text().splitlines())
        if log.exists()
        else Counter(),
        items={row[0] for row in ledger.rows("SELECT job_id FROM items")},
        users={row[0] for row in ledger.rows("SELECT username FROM users")},
        ends=list(ends),
        history=ledger.history(),
        batches=ledger.batches(),
        output=ledger.output(),
        ticks=ledger.ticks(),
        signals=list(signals),
    )
