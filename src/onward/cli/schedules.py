"""The commands of `onward schedules`. Each function gives the exit code, as those of `onward jobs` do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rich.table import Table
from rich.text import Text

from onward.cli import terminal
from onward.cli.job_text import plain
from onward.cli.parameter_options import parameters
from onward.cli.sending import whole_parameters
from onward.config.settings import Settings
from onward.dispatch.preparation import Preparation
from onward.dispatch.schedules import Schedules, Shown
from onward.handlers.base import InvalidParameters
from onward.jobs import ledger, uniqueness
from onward.jobs.base import ScheduleRefused
from onward.jobs.model import to_datetime
from onward.jobs.schedule_choices import ScheduleMissed, ScheduleOverlap
from onward.runtime import values
from onward.runtime.backends import runs_elsewhere_by_name
from onward.runtime.handlers import build_encryption, load_handlers
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx
from onward.telemetry.tracing import Tracing

DONE, REFUSED, UNKNOWN = terminal.DONE, terminal.REFUSED, terminal.UNKNOWN
TIMES = ("next_at", "last_at", "made_at", "paused_at", "skipped_at")
PAGE = 200


def list_all(settings: Settings, *, as_json: bool) -> int:
    """Print all schedules: a table, or one JSON object on each line."""
    schedules, after, number = _schedules(settings), "", 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("schedule", "handler", "times", "next", "last job", "state"):
        table.add_column(heading, no_wrap=heading != "state")
    with terminal.ledger_of(settings) as database:
        while found := database.read_sync(partial(schedules.page, first=PAGE, after=after)):
            after, number = found[-1].name, number + len(found)
            for shown in found:
                if as_json:
                    print(json.dumps(as_object(shown)))
                else:
                    table.add_row(*(Text(plain(cell)) for cell in _cells(shown)))
    if not as_json:
        terminal.out().print(table if number else "no schedules")
    return DONE


def show(settings: Settings, name: str, *, as_json: bool) -> int:
    """Print one schedule: its rule, its next times, and what became of the last ones."""
    schedules = _schedules(settings)
    with terminal.ledger_of(settings) as database:
        try:
            shown = database.read_sync(partial(schedules.get, name=name))
        except ScheduleRefused as error:
            return _refused(name, error)
    if as_json:
        print(json.dumps(as_object(shown)))
    else:
        terminal.out().print(*(Text(plain(line)) for line in _lines(shown)), sep="\n")
    return DONE


def create(
    settings: Settings,
    name: str,
    handler: str,
    given: Sequence[str],
    *,
    whole: str | None,
    cron: str,
    time_zone: str,
    overlap: ScheduleOverlap,
    missed: ScheduleMissed,
) -> int:
    """Make a schedule. Raises BadOption."""
    handlers = load_handlers(settings)
    if handler not in handlers:
        return terminal.no_such_handler(handler, handlers)
    schedules = _schedules(settings)
    params = {**whole_parameters(whole), **parameters(handlers[handler], given)}
    try:
        entry = schedules.entry(name, handler, params, cron, time_zone=time_zone, overlap=overlap, missed=missed)
    except InvalidParameters as error:
        terminal.fail(f"{handler}: {error}")
        return REFUSED
    except ScheduleRefused as error:
        return _refused(name, error)
    return _change(settings, [name], "made", lambda tx, _: schedules.create(tx, entry, by=terminal.user()))


def pause(settings: Settings, names: Sequence[str]) -> int:
    """Let no tick of these schedules make a job."""
    schedules = _schedules(settings)
    return _change(settings, names, "paused", lambda tx, name: schedules.pause(tx, name, by=terminal.user()))


def resume(settings: Settings, names: Sequence[str]) -> int:
    """Let the schedules go on with their next ticks."""
    return _change(settings, names, "resumed", _schedules(settings).resume)


def delete(settings: Settings, names: Sequence[str]) -> int:
    """Delete schedules that were made at run time."""
    return _change(settings, names, "deleted", _schedules(settings).delete)


def run(settings: Settings, name: str) -> int:
    """Accept a job of the schedule, which a serving process delivers, and print its id."""
    schedules, elsewhere = _schedules(settings), runs_elsewhere_by_name(settings)

    def accept(tx: Tx) -> str:
        _, new = schedules.new_job(tx, name)
        runner = ledger.UNDELIVERED if elsewhere.get(new.backend) else None
        return uniqueness.accept(tx, new, partial(ledger.accept, local_runner=runner)).id

    with terminal.writer_of(settings, make=True) as writer:
        try:
            print(writer.run_sync(accept, ALONE))
        except ScheduleRefused as error:
            return _refused(name, error)
    return DONE


def as_object(shown: Shown) -> Mapping[str, Any]:
    """Return the schedule as a JSON object, with the names that GraphQL has."""
    times = {name: None if (at := getattr(shown, name)) is None else _iso(at) for name in TIMES}
    return {
        "name": shown.name,
        "handler": shown.handler,
        "cron": shown.cron,
        "timeZone": shown.time_zone,
        "overlap": shown.overlap.value,
        "missed": shown.missed.value,
        "fromSettings": shown.from_settings,
        "madeAt": times["made_at"],
        "madeBy": shown.made_by,
        "nextAt": times["next_at"],
        "upcoming": [_iso(at) for at in shown.upcoming],
        "pausedAt": times["paused_at"],
        "pausedBy": shown.paused_by,
        "lastAt": times["last_at"],
        "lastJob": shown.last_job,
        "skippedAt": times["skipped_at"],
        "problem": shown.problem,
    }


def _lines(shown: Shown) -> list[str]:
    """Return the lines for a person."""
    made = "of the settings" if shown.from_settings else f"made at {_iso(shown.made_at or 0)} by {shown.made_by}"
    found = [
        f"{shown.name}  {shown.handler}  {shown.cron} {shown.time_zone}  {made}",
        f"overlap {shown.overlap.value}, missed {shown.missed.value}",
    ]
    if shown.paused_at is not None:
        by = f" by {shown.paused_by}" if shown.paused_by else ""
        found.append(f"paused at {_iso(shown.paused_at)}{by}")
    elif not shown.upcoming:
        found.append("no next time yet: a process that runs maintenance has to read the settings first")
    found += [f"next {_iso(at)}" for at in shown.upcoming]
    if shown.last_at is not None:
        found.append(f"last {_iso(shown.last_at)} {shown.last_job or 'whose job is no longer kept'}")
    if shown.skipped_at is not None:
        found.append(f"skipped {_iso(shown.skipped_at)}, because the last job was not over")
    if shown.problem:
        found.append(f"problem: {shown.problem}")
    return found


def _cells(shown: Shown) -> tuple[str, ...]:
    state = "settings" if shown.from_settings else "run time"
    if shown.paused_at is not None:
        state = f"paused by {shown.paused_by}" if shown.paused_by else "paused"
    elif shown.problem:
        state = shown.problem
    next_ = "" if shown.next_at is None else _iso(shown.next_at)
    return shown.name, shown.handler, f"{shown.cron} {shown.time_zone}", next_, shown.last_job or "", state


def _iso(at: int) -> str:
    return to_datetime(at).isoformat().replace("+00:00", "Z")


def _schedules(settings: Settings) -> Schedules:
    """Raises SettingsError."""
    handlers = load_handlers(settings)
    preparation = Preparation(
        handlers=handlers,
        route=values.routes(settings, handlers),
        priority=values.priorities(settings),
        encryption=build_encryption(settings, handlers),
        tracing=Tracing(),
    )
    return Schedules(values.schedule_entries(settings, preparation), preparation)


def _change(settings: Settings, names: Sequence[str], word: str, change: Callable[[Tx, str], Shown]) -> int:
    worst = DONE
    with terminal.writer_of(settings, make=True) as writer:
        for name in names:
            try:
                writer.run_sync(lambda tx, name=name: change(tx, name), ALONE)  # type: ignore[misc]
                print(f"{plain(name)} {word}")
            except ScheduleRefused as error:
                worst = max(worst, _refused(name, error))
    return worst


def _refused(name: str, error: ScheduleRefused) -> int:
    terminal.fail(f"{plain(name)}: {plain(str(error))}")
    return UNKNOWN if error.code == "NOT_FOUND" else REFUSED
