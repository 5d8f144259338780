"""The command line. Each command imports what it needs when it runs, so that `onward --help` is quick.

In one file, since signatures and docstrings are what `--help` and docs/commands.md show, command after command.

The file is long because each command declares its options here, and does its work elsewhere.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Never, NoReturn

import typer

from onward import children
from onward.cli.completion import SendCommand, handler_names
from onward.jobs.schedule_choices import ScheduleMissed, ScheduleOverlap
from onward.jobs.states import CANCELLABLE, RETRYABLE, JobStatus
from onward.jobs.stats_step import StatsStep
from onward.runtime import allocator, garbage_collector

if TYPE_CHECKING:
    from socket import socket

    from onward.config.settings import Settings
    from onward.jobs.model import JobFilter
    from onward.supervisor.supervisor import ProcessSpec

CANNOT_START = 2
FAULTS = Path("var/faults.json")
ROOT = Path(__file__).resolve().parents[3]  # of a clone
Command = Callable[..., None]

Backend = Annotated[str | None, typer.Option(help="The backend for jobs, instead of the one in the settings.")]
Host = Annotated[str | None, typer.Option(help="The address to listen on, instead of server.host in the settings.")]
Port = Annotated[
    int | None, typer.Option(help="The port to listen on, instead of server.port in the settings; 0 picks a free one.")
]
Workers = Annotated[
    int | None, typer.Option(help="How many API processes share the port, instead of server.workers in the settings.")
]
Processes = Annotated[int | None, typer.Option(min=1, help="How many worker processes; by default one for each core.")]
Queues = Annotated[
    list[str] | None,
    typer.Option(
        help="Run the jobs of these queues only, with commas between; `default` is the queue of jobs without one."
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="How many Dramatiq jobs each worker process runs at once.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on each line.")]
Statuses = Annotated[list[JobStatus] | None, typer.Option("--status", case_sensitive=False, help="Only these states.")]
ScheduleNames = Annotated[list[str], typer.Argument(help="Names of schedules.")]
Handlers = Annotated[list[str] | None, typer.Option("--handler", help="Only these handlers; a name may contain *.")]
Owner = Annotated[str | None, typer.Option(help="Only jobs of this viewer.")]
ErrorCodes = Annotated[
    list[str] | None,
    typer.Option("--code", help="Only jobs that are FAILED, RETRYING or CANCELLED with this code of an error."),
]
CreatedFrom = Annotated[
    str | None,
    typer.Option("--from", help="Only jobs created since then: a time with its zone, or an age such as 90m or 7d."),
]
CreatedTo = Annotated[str | None, typer.Option("--to", help="Only jobs created before then.")]
EndedFrom = Annotated[str | None, typer.Option("--ended-from", help="Only jobs that ended since then.")]
EndedTo = Annotated[str | None, typer.Option("--ended-to", help="Only jobs that ended before then.")]
RunFrom = Annotated[
    str | None, typer.Option("--run-from", help="Only SCHEDULED jobs whose requested start is then or later.")
]
RunTo = Annotated[
    str | None, typer.Option("--run-to", help="Only SCHEDULED jobs whose requested start is before then.")
]
ErrorMessage = Annotated[
    str | None,
    typer.Option("--message", help="Only jobs with this message, whole, as `onward stats --failures` shows it."),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        help="Only jobs with this parameter, as in order=A-17 or address.city=Rome. 5, true and null are looked for"
        " as texts, too; '\"5\"' is the text alone.",
    ),
]
OfBatch = Annotated[str | None, typer.Option("--batch", help="Only children of this batch.")]


def serve(
    *,
    host: Host = None,
    port: Port = None,
    backend: Backend = None,
    workers: Workers = None,
    queues: Queues = None,
    fd: Annotated[int | None, typer.Option(help="The number of an open socket to listen on; systemd's is 3.")] = None,
) -> None:
    """Serve the API. With the default backend it runs the jobs, too."""
    garbage_collector.start()
    allocator.limit_pools()
    settings = _load_settings(backend=backend, host=host, port=port, workers=workers, queues=queues, logs="later")
    from onward.api import server as serving
    from onward.runtime import backends

    with _errors_in_one_line():
        backends.check_queues(settings)
        if fd is not None:
            adopted = serving.adopt(settings, fd)
            _migrate(settings)
            serving.run(settings, adopted)
            _leave(0)
        with serving.bind(settings) as bound:
            _migrate(settings)
            if settings.server.workers == 1:
                serving.run(settings, bound)
                _leave(0)
            _supervise(settings, _api(settings, bound))


def _leave(code: int) -> Never:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a handler may have closed it, or put another one in its place
            stream.flush()
    children.leave(code)


def worker(
    *,
    processes: Processes = None,
    threads: Threads = 8,
    backend: Backend = None,
    queues: Queues = None,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
    replaces: Annotated[bool, typer.Option("--replaces", hidden=True)] = False,
) -> None:
    """Run the jobs that the API hands to Dramatiq, or to a backend of yours."""
    garbage_collector.start()
    allocator.limit_pools()
    settings = _load_settings(backend=backend, queues=queues)
    from onward.worker import process

    with _errors_in_one_line():
        process.check_backend(settings)
        _migrate(settings)
        recycles = bool(settings.worker.recycle_after_jobs or settings.worker.recycle_above_mb)
        if not supervised and (recycles or (processes or _cores()) > 1):
            _supervise(settings, _workers(processes, threads))
        code = process.serve(settings, threads=threads, supervised=supervised, replaces=replaces)
    _leave(code)


def up(
    *,
    host: Host = None,
    port: Port = None,
    backend: Backend = None,
    workers: Workers = None,
    processes: Processes = None,
    threads: Threads = 8,
    queues: Queues = None,
) -> None:
    """Run the API, workers and, if none answers, a private Redis, all on this machine."""
    settings = _load_settings(backend=backend, host=host, port=port, workers=workers, queues=queues)
    from onward.api import server as serving
    from onward.runtime import backends
    from onward.supervisor import private_redis

    with _errors_in_one_line(), serving.bind(settings) as bound:
        backends.check_queues(settings)
        _migrate(settings)
        parts = _api(settings, bound)
        # Without queues nothing has to be loaded to know.
        if backends.runs_elsewhere(settings) and (not settings.worker.taken or backends.taken_by_worker(settings)):
            parts += _workers(processes, threads)
        if backends.uses_dramatiq(settings):
            redis = private_redis.process_spec(settings)
            parts += [redis] if redis else []
        _supervise(settings, parts)


def check(*, backend: Backend = None) -> None:
    """Check the configured services and suggest fixes."""
    settings = _load_settings(backend=backend)
    from rich.console import Console

    from onward.cli.check import findings
    from onward.findings import State

    console = Console(highlight=False)
    styles = {State.OK: "green", State.WARNING: "yellow", State.WRONG: "red"}
    wrong = 0
    with _errors_in_one_line():
        for found in findings(settings):
            wrong += found.state is State.WRONG
            console.print(f"{found.state:<8}", style=styles[found.state], end=" ")
            console.print(f"{found.part}: {found.message}", markup=False, soft_wrap=True)
            if found.fix:
                console.print(f"{'':8} {found.fix}", markup=False, soft_wrap=True, style="bold")
    raise typer.Exit(1 if wrong else 0)


def migrate(
    *,
    back: Annotated[
        bool, typer.Option("--back", help="Go back to the last release's tables, before it is started again.")
    ] = False,
) -> None:
    """Bring the ledger's tables up to date. A second migration waits for the first."""
    settings = _load_settings()
    with _errors_in_one_line():
        if back:
            print(_migrate_back(settings))
            return
        print("the ledger is up to date" if _migrate(settings, also_postgresql=True) else "nothing to do")


def backup(file: Annotated[Path, typer.Argument(help="Where the copy goes.")]) -> None:
    """Copy a SQLite ledger to a file while it is in use."""
    settings = _load_settings()
    with _errors_in_one_line():
        from onward.cli.progress_bar import bar
        from onward.runtime.database import database_of
        from onward.storage.backup import backup

        database = database_of(settings)
        try:
            source, copy = database.path, list[Path]()
            size = source.stat().st_size if source and source.is_file() else None
            with bar("copying the ledger", size, done=lambda: sum(part.stat().st_size for part in copy)):
                backup(database, file.absolute(), on_start=copy.append)
        finally:
            database.close()
        print(f"the ledger is copied to {file}")


def schema() -> None:
    """Print the GraphQL schema."""
    settings = _load_settings()
    with _errors_in_one_line():
        from onward.api import composition
        from onward.config.settings import SettingsError
        from onward.graphql.base import SchemaError

        try:
            print(composition.schema(settings).as_str())
        except SchemaError as error:
            raise SettingsError(f"gql.modules: {error}") from error


def stats(
    *,
    from_: Annotated[
        str, typer.Option("--from", help="Since then: a time with its zone, or an age such as 90m, 24h or 7d.")
    ] = "24h",
    to: Annotated[str, typer.Option(help="Until then, likewise; 0m is now.")] = "0m",
    handler: Handlers = None,
    step: Annotated[StatsStep, typer.Option(case_sensitive=False, help="One line for each.")] = StatsStep.TOTAL,
    failures: Annotated[bool, typer.Option("--failures", help="The errors of failed jobs instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the jobs of each handler did: how many, how long they waited and ran, and their errors."""
    with _commands("stats") as (commands, settings):
        try:
            if failures:
                code = commands.show_failures(settings, from_, to, handler or (), as_json=as_json)
            else:
                code = commands.show(settings, from_, to, handler or (), step, as_json=as_json)
        except ValueError as error:  # of a time
            _fail(str(error))
        raise typer.Exit(code)


def top(
    *,
    from_: Annotated[
        str, typer.Option("--from", help="The history since then: a time with its zone, or an age.")
    ] = "1h",
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds from one look to the next.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, once.")] = False,
) -> None:
    """Show live what waits, runs and fails: by handler, and by process. q ends it; into a pipe it prints once."""
    with _commands("top") as (command, settings):
        try:
            code = command.show(settings, from_, interval_s=interval, as_json=as_json)
        except ValueError as error:  # of a time
            _fail(str(error))
        raise typer.Exit(code)


def jobs_list(
    *,
    status: Statuses = None,
    handler: Handlers = None,
    owner: Owner = None,
    code: ErrorCodes = None,
    message: ErrorMessage = None,
    batch: OfBatch = None,
    param: Params = None,
    from_: CreatedFrom = None,
    to: CreatedTo = None,
    ended_from: EndedFrom = None,
    ended_to: EndedTo = None,
    run_from: RunFrom = None,
    run_to: RunTo = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest jobs."""
    with _commands("terminal") as (terminal, settings):
        created, ended, run = (from_, to), (ended_from, ended_to), (run_from, run_to)
        wanted = _filter(status, handler, owner, code, message, batch, param, created=created, ended=ended, run=run)
        raise typer.Exit(terminal.list_jobs(settings, wanted, limit, as_json=as_json))


def jobs_show(job: str, *, as_json: AsJson = False) -> None:
    """Show one job: its batch, parent and children, steps, attempts, result or error, and the reason for its state.

    The reason is why it waits, or why it was cancelled.
    """
    with _commands("terminal") as (terminal, settings):
        raise typer.Exit(terminal.show(settings, job, as_json=as_json))


def jobs_watch(
    job: Annotated[str | None, typer.Argument(help="One job; without it, the newest ones.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Follow the newest jobs until Ctrl-C, or one job until it is over (1 unless it succeeded)."""
    with _commands("terminal") as (terminal, settings):
        raise typer.Exit(terminal.watch(settings, job, as_json=as_json))


def jobs_output(
    job: str,
    *,
    after: Annotated[int | None, typer.Option(help="Begin behind the chunk with this offset.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the output of one job as it comes, until it is over (1 unless it succeeded)."""
    with _commands("terminal") as (terminal, settings):
        raise typer.Exit(terminal.output(settings, job, after=after, as_json=as_json))


def jobs_logs(job: str, *, as_json: AsJson = False) -> None:
    """Print what the handler of one job and Onward have logged while it ran: the newest 1,000 lines."""
    with _commands("terminal") as (terminal, settings):
        raise typer.Exit(terminal.logs(settings, job, as_json=as_json))


def jobs_retry(
    jobs: Annotated[list[str] | None, typer.Argument(help="Jobs that are FAILED or CANCELLED.")] = None,
    *,
    status: Statuses = None,
    handler: Handlers = None,
    owner: Owner = None,
    code: ErrorCodes = None,
    message: ErrorMessage = None,
    batch: OfBatch = None,
    param: Params = None,
    from_: CreatedFrom = None,
    to: CreatedTo = None,
    ended_from: EndedFrom = None,
    ended_to: EndedTo = None,
    run_from: RunFrom = None,
    run_to: RunTo = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000_000, help="How many at most, if chosen by options.")
    ] = 1_000,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="From the first step, not from the one that failed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run jobs again: the named ones, or the oldest that match the options, up to the limit."""
    with _commands("terminal") as (terminal, settings):
        created, ended, run = (from_, to), (ended_from, ended_to), (run_from, run_to)
        wanted = _filter(status, handler, owner, code, message, batch, param, created=created, ended=ended, run=run)
        chosen = any((status, handler, owner, code, message, batch, param, *created, *ended, *run))
        if bool(jobs) == chosen or (chosen and (from_start or as_json)):
            _fail("name jobs, or choose them by options such as --handler (--from-start and --json go with names only)")
        if jobs:
            raise typer.Exit(terminal.retry(settings, jobs, from_start=from_start, as_json=as_json))
        if status and not RETRYABLE.intersection(status):
            _fail("--status must be FAILED or CANCELLED here: no other job can be retried")
        raise typer.Exit(terminal.retry_matching(settings, wanted, limit))


def jobs_cancel(
    jobs: Annotated[list[str] | None, typer.Argument(help="Jobs that are not over.")] = None,
    *,
    status: Statuses = None,
    handler: Handlers = None,
    owner: Owner = None,
    code: ErrorCodes = None,
    message: ErrorMessage = None,
    batch: OfBatch = None,
    param: Params = None,
    from_: CreatedFrom = None,
    to: CreatedTo = None,
    ended_from: EndedFrom = None,
    ended_to: EndedTo = None,
    run_from: RunFrom = None,
    run_to: RunTo = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000_000, help="How many at most, if chosen by options.")
    ] = 1_000,
    reason: Annotated[str | None, typer.Option(help="Kept with the job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Cancel jobs: the named ones, or the oldest that match the options, up to the limit.

    A running one ends at its next check.
    """
    with _commands("terminal") as (terminal, settings):
        created, ended, run = (from_, to), (ended_from, ended_to), (run_from, run_to)
        wanted = _filter(status, handler, owner, code, message, batch, param, created=created, ended=ended, run=run)
        chosen = any((status, handler, owner, code, message, batch, param, *created, *ended, *run))
        if bool(jobs) == chosen or (chosen and as_json):
            _fail("name jobs, or choose them by options such as --handler (--json goes with names only)")
        if jobs:
            raise typer.Exit(terminal.cancel(settings, jobs, reason=reason, as_json=as_json))
        if status and not CANCELLABLE.intersection(status):
            _fail("--status must be that of a job which is not over: no other job can be cancelled")
        raise typer.Exit(terminal.cancel_matching(settings, wanted, limit, reason=reason))


def batch_list(
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest batches that no other one holds, with the number of their children in each state."""
    with _commands("batches") as (batch_commands, settings):
        raise typer.Exit(batch_commands.list_newest(settings, limit, as_json=as_json))


def batch_show(batch: Annotated[str, typer.Argument(help="The batch's id.")], *, as_json: AsJson = False) -> None:
    """Show a batch: its state, the number of its children in each state, and the job that has followed."""
    with _commands("batches") as (batch_commands, settings):
        raise typer.Exit(batch_commands.show(settings, batch, as_json=as_json))


def batch_cancel(
    batch: Annotated[str, typer.Argument(help="A batch that is not over.")],
    *,
    reason: Annotated[str | None, typer.Option(help="Kept with the batch and its jobs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Cancel the children of a batch. Nothing follows them; running ones end at their next check."""
    with _commands("batches") as (batch_commands, settings):
        raise typer.Exit(batch_commands.cancel(settings, batch, reason=reason, as_json=as_json))


def batch_retry(
    batch: Annotated[str, typer.Argument(help="A batch that is over.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Run what has failed in a batch again, and then the job that follows it."""
    with _commands("batches") as (batch_commands, settings):
        raise typer.Exit(batch_commands.retry(settings, batch, as_json=as_json))


def jobs_pause(
    handlers: Annotated[list[str], typer.Argument(help="Handlers, or patterns such as email.*")],
) -> None:
    """Let no further job of these handlers begin, in any process. Running jobs go on."""
    with _commands("terminal") as (terminal, settings):
        raise typer.Exit(terminal.pause(settings, handlers))


def jobs_resume(
    handlers: Annotated[list[str], typer.Argument(help="Handlers, or patterns such as email.*")],
) -> None:
    """Let the jobs of paused handlers begin again."""
    with _commands("terminal") as (terminal, settings):
        raise typer.Exit(terminal.resume(settings, handlers))


def jobs_send(
    context: typer.Context,
    handler: Annotated[str, typer.Argument(help="The handler of the job.", autocompletion=handler_names)],
    *,
    whole: Annotated[str | None, typer.Option("--json", help="Its parameters as a JSON object.")] = None,
    run_at: Annotated[str | None, typer.Option(help="Not before this time, as in 2030-01-31T09:00:00+01:00.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", "--idempotency-key", help="An idempotency key: sent twice, it is one job.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="The viewer whose job it is.")] = None,
    priority: Annotated[int | None, typer.Option(help="A higher one goes first.")] = None,
) -> None:
    """Enqueue a job and print its id. Further options are its parameters, as in --order A-17."""
    settings = _load_settings()
    with _errors_in_one_line():
        from onward.cli import parameter_options, sending

        try:
            code = sending.send(
                settings, handler, context.args, whole=whole, run_at=run_at, key=key, owner=owner, priority=priority
            )
        except parameter_options.BadOption as error:
            _fail(str(error))
        raise typer.Exit(code)


def jobs_signal(
    job: str,
    name: Annotated[str, typer.Argument(help="The name of the signal, as `onward jobs show` names it.")],
    *,
    payload: Annotated[str | None, typer.Option(help="The payload as JSON, as in '{\"approved\": true}'.")] = None,
) -> None:
    """Send the signal that a job waits for, or will wait for."""
    settings = _load_settings()
    with _errors_in_one_line():
        from onward.cli import parameter_options, sending

        try:
            code = sending.signal(settings, job, name, payload)
        except parameter_options.BadOption as error:
            _fail(str(error))
        raise typer.Exit(code)


def workers_list(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the processes that accept and run jobs: release, jobs that run, memory."""
    if context.invoked_subcommand is None:
        with _commands("workers") as (workers, settings):
            raise typer.Exit(workers.list_all(settings, as_json=as_json))


def workers_drain(
    workers: Annotated[list[str], typer.Argument(help="Processes of `onward worker`, by their ids.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Have worker processes begin no further job, finish what runs or hand it back, and end."""
    with _commands("workers") as (commands, settings):
        raise typer.Exit(commands.drain(settings, workers, as_json=as_json))


def schedules_list(*, as_json: AsJson = False) -> None:
    """List the schedules of the settings, and those made at run time."""
    with _commands("schedules") as (schedules, settings):
        raise typer.Exit(schedules.list_all(settings, as_json=as_json))


def schedules_show(
    name: Annotated[str, typer.Argument(help="A schedule.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one schedule: its next five times, its overlap, its last job and the tick that was skipped."""
    with _commands("schedules") as (schedules, settings):
        raise typer.Exit(schedules.show(settings, name, as_json=as_json))


def schedules_create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The name, of this schedule alone.")],
    handler: Annotated[str, typer.Argument(help="The handler of its jobs.", autocompletion=handler_names)],
    *,
    cron: Annotated[str, typer.Option(help="Its times in cron's form, as in '30 7 * * MON-FRI'.")],
    time_zone: Annotated[
        str, typer.Option("--time-zone", "--timezone", help="Their time zone, as in Europe/Berlin.")
    ] = "UTC",
    overlap: Annotated[
        ScheduleOverlap, typer.Option(case_sensitive=False, help="What to do while its last job is not over.")
    ] = ScheduleOverlap.ALLOW,
    missed: Annotated[
        ScheduleMissed, typer.Option(case_sensitive=False, help="What to do after times at which no process ran.")
    ] = ScheduleMissed.RUN_ONCE,
    whole: Annotated[str | None, typer.Option("--json", help="The handler's parameters as a JSON object.")] = None,
) -> None:
    """Make a schedule. Further options are the handler's parameters, as in --order A-17."""
    with _commands("schedules") as (schedules, settings):
        from onward.cli.parameter_options import BadOption

        chosen = {"cron": cron, "time_zone": time_zone, "overlap": overlap, "missed": missed}
        try:
            code = schedules.create(settings, name, handler, context.args, whole=whole, **chosen)
        except BadOption as error:
            _fail(str(error))
        raise typer.Exit(code)


def schedules_pause(names: ScheduleNames) -> None:
    """Let no tick of these schedules make a job, in any process."""
    with _commands("schedules") as (schedules, settings):
        raise typer.Exit(schedules.pause(settings, names))


def schedules_resume(names: ScheduleNames) -> None:
    """Let paused schedules go on with their next ticks."""
    with _commands("schedules") as (schedules, settings):
        raise typer.Exit(schedules.resume(settings, names))


def schedules_run(name: Annotated[str, typer.Argument(help="A schedule, paused or not.")]) -> None:
    """Accept a job of a schedule now and print its id. Its ticks stay as they are."""
    with _commands("schedules") as (schedules, settings):
        raise typer.Exit(schedules.run(settings, name))


def schedules_delete(names: ScheduleNames) -> None:
    """Delete schedules that were made at run time. Their jobs stay."""
    with _commands("schedules") as (schedules, settings):
        raise typer.Exit(schedules.delete(settings, names))


def bench(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Ratios with generous bounds, in two minutes, for CI.")
    ] = False,
    only: Annotated[str | None, typer.Option(help="Only these figures, such as A,B.")] = None,
    rows: Annotated[int | None, typer.Option(min=20_000, help="Jobs in G's large ledger; else 1,000,000.")] = None,
) -> None:
    """Measure this program and others side by side."""
    _needs_clone("benchmarks")
    from benchmarks import main
    from benchmarks.base import BenchError

    try:
        raise typer.Exit(main.run(quick=quick, only=only, large=rows))
    except BenchError as error:
        _fail(str(error))


def new_project(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="The name of its folder, as in shop.")],
) -> None:
    """Write a project into a new folder: a handler that is its own mutation, its test, settings, an image."""
    with _errors_in_one_line():
        from onward.cli import new_project

        print(*new_project.write(name), sep="\n")


def new_handler(name: Annotated[str, typer.Argument(help="Family and name, as in orders.confirm.")]) -> None:
    """Write a handler, its mutation and their test into the project."""
    with _errors_in_one_line():
        from onward.cli import new_handler

        print(*new_handler.write(name, Path(os.environ.get("ONWARD_PROJECT") or Path.cwd()).absolute()), sep="\n")


def faults(
    *,
    minutes: Annotated[float, typer.Option(min=0.05, help="How long each campaign injects faults.")] = 2.0,
    seed: Annotated[int | None, typer.Option(help="The random seed; the same one repeats the same faults.")] = None,
    combination: Annotated[list[str] | None, typer.Option(help="Only these, such as dramatiq+postgresql.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Mutations a second.")] = 40.0,
    file: Annotated[Path, typer.Option("--json", help="The file for the figures.")] = FAULTS,
) -> None:
    """Run the program under random faults and count its jobs: exit code 1 if a promise was broken."""
    _needs_clone("tests")
    from tests.system.faults import main

    try:
        raise typer.Exit(main.run(minutes=minutes, seed=seed, rate=rate, combinations=combination or (), file=file))
    except main.FaultsError as error:
        _fail(str(error))


COMMANDS: tuple[Command, ...] = (serve, worker, up, check, stats, top, migrate, backup, schema, bench, faults)
JOBS_COMMANDS: tuple[tuple[str, Command], ...] = (
    ("list", jobs_list),
    ("show", jobs_show),
    ("send", jobs_send),
    ("watch", jobs_watch),
    ("output", jobs_output),
    ("logs", jobs_logs),
    ("retry", jobs_retry),
    ("cancel", jobs_cancel),
    ("signal", jobs_signal),
    ("pause", jobs_pause),
    ("resume", jobs_resume),
)
BATCH_COMMANDS: tuple[tuple[str, Command], ...] = (
    ("list", batch_list),
    ("show", batch_show),
    ("cancel", batch_cancel),
    ("retry", batch_retry),
)

SCHEDULES_COMMANDS: tuple[tuple[str, Command], ...] = (
    ("list", schedules_list),
    ("show", schedules_show),
    ("create", schedules_create),
    ("pause", schedules_pause),
    ("resume", schedules_resume),
    ("run", schedules_run),
    ("delete", schedules_delete),
)


def program() -> typer.Typer:
    """Build the command line from the tables above."""
    app = typer.Typer(
        name="onward",
        help="Answer now, carry the work onward. In a clone, `./onward test` runs the tests.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_onward)
    for command in COMMANDS:
        app.command()(command)
    jobs = typer.Typer(help="Look at jobs and control them.", no_args_is_help=True)
    for name, command in JOBS_COMMANDS:
        _add(jobs, name, command, takes_parameters=command is jobs_send)
    batch = typer.Typer(help="Look at a batch of jobs and control it.", no_args_is_help=True)
    for name, command in BATCH_COMMANDS:
        _add(batch, name, command, takes_parameters=False)
    jobs.add_typer(batch, name="batch")
    app.add_typer(jobs, name="jobs")
    schedules = typer.Typer(help="Look at schedules, make and change them.", no_args_is_help=True)
    for name, command in SCHEDULES_COMMANDS:
        _add(schedules, name, command, takes_parameters=command is schedules_create)
    app.add_typer(schedules, name="schedules")
    workers = typer.Typer(invoke_without_command=True)
    workers.callback()(workers_list)
    _add(workers, "drain", workers_drain, takes_parameters=False)
    app.add_typer(workers, name="workers")
    new = typer.Typer(help="Write the first files of something new.", no_args_is_help=True)
    new.command("project")(new_project)
    new.command("handler")(new_handler)
    app.add_typer(new, name="new")
    return app


def _add(group: typer.Typer, name: str, command: Command, *, takes_parameters: bool) -> None:
    free = {"ignore_unknown_options": True, "allow_extra_args": True} if takes_parameters else None
    group.command(name, cls=SendCommand if takes_parameters else None, context_settings=free)(command)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's way to call
    if wanted:
        from onward.config.settings import version

        print(f"onward {version()}")
        raise typer.Exit


def _onward(
    project: Annotated[Path | None, typer.Option(help="The folder of settings.toml and your modules.")] = None,
    *,
    version: Annotated[  # noqa: ARG001 - answered before any command is looked for
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the release and exit.")
    ] = False,
) -> None:
    if project is not None:
        os.environ["ONWARD_PROJECT"] = str(project.absolute())  # for child processes, too


def _load_settings(
    *,
    backend: str | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    queues: list[str] | None = None,
    logs: Literal["now", "later", "never"] = "now",
) -> "Settings":
    """Load the settings under the flags, pass the flags on to child processes, and set up logging.

    A command that only asks the ledger does without the `logs` of libraries, whose set-up takes a fifth of its time;
    a server that sets them up later answers sooner.
    """
    from onward import telemetry
    from onward.config import settings

    server = {key: value for key, value in (("host", host), ("port", port), ("workers", workers)) if value is not None}
    with _errors_in_one_line():
        flags: dict[str, Any] = {"backend": backend, "server": server}
        if queues:
            flags["worker"] = {"queues": ",".join(queues)}
        found = settings.enter(**{key: flag for key, flag in flags.items() if flag})
    if backend:
        os.environ["ONWARD_BACKEND"] = backend
    if queues:
        os.environ["ONWARD_WORKER__QUEUES"] = found.worker.queues
    os.environ.update({f"ONWARD_SERVER__{key.upper()}": str(value) for key, value in server.items()})
    set_up = {"now": telemetry.configure, "later": telemetry.configure_later, "never": telemetry.set_environment}
    set_up[logs](found.environment)
    return found


def _migrate(settings: "Settings", *, also_postgresql: bool = False) -> bool:
    """Migrate the ledger, PostgreSQL only if asked for; return whether anything changed."""
    from onward.runtime.database import database_of
    from onward.storage import migrate as migration

    database = database_of(settings)
    try:
        if migration.is_current(database):
            return False
        if also_postgresql or database.dialect == "sqlite":
            from onward.cli.progress_bar import bar

            with bar("bringing the ledger up to date"):
                return migration.upgrade(database)
        migration.ensure(database)
        return False
    finally:
        database.close()


def _migrate_back(settings: "Settings") -> str:
    """Give the ledger the tables of the last release; return what was done."""
    from onward.runtime.database import database_of
    from onward.storage import migrate as migration

    database = database_of(settings)
    try:
        gone = migration.go_back(database)
    finally:
        database.close()
    return f"the ledger is one of release {migration.LAST_RELEASE[0]}" if gone else "nothing to do"


def _api(settings: "Settings", bound: "socket") -> list["ProcessSpec"]:
    from onward.supervisor.supervisor import ProcessSpec, command

    bound.set_inheritable(True)
    count, fd = settings.server.workers, bound.fileno()
    names = ["api"] if count == 1 else [f"api-{number}" for number in range(1, count + 1)]
    return [ProcessSpec(name, command("serve", "--fd", str(fd)), descriptors=(fd,)) for name in names]


def _workers(processes: int | None, threads: int) -> list["ProcessSpec"]:
    from onward.supervisor.supervisor import ProcessSpec, command

    one = command("worker", "--processes", "1", "--threads", str(threads), "--supervised")
    # They stop beside the API, not after it: its running jobs may take the whole time of a drain, and so may theirs.
    names = [f"worker-{number}" for number in range(1, (processes or _cores()) + 1)]
    return [ProcessSpec(name, one, replacing=("--replaces",)) for name in names]


def _cores() -> int:
    return os.cpu_count() or 1


def _supervise(settings: "Settings", parts: list["ProcessSpec"]) -> NoReturn:
    import asyncio

    from onward.supervisor.supervisor import Supervisor

    garbage_collector.started()

    async def run() -> int:
        return await Supervisor(parts, deadline_s=settings.server.drain_s + 5).run()

    raise typer.Exit(asyncio.run(run()))


def _filter(  # noqa: PLR0917 - private
    status: list[JobStatus] | None,
    handler: list[str] | None,
    owner: str | None,
    code: list[str] | None,
    message: str | None,
    batch: str | None,
    param: list[str] | None,
    *,
    created: tuple[str | None, str | None],
    ended: tuple[str | None, str | None],
    run: tuple[str | None, str | None],
) -> "JobFilter":
    import time

    from onward.cli.params import params_of
    from onward.cli.times import span_of
    from onward.jobs.model import JobFilter

    now = time.time_ns() // 1000
    try:
        created_after, created_before = span_of("", *created, now)
        finished_after, finished_before = span_of("ended-", *ended, now)
        run_after, run_before = span_of("run-", *run, now)
        params = params_of(param or [])
    except ValueError as error:
        _fail(str(error))
    return JobFilter(
        status=tuple(status or ()),
        handler=tuple(handler or ()),
        created_after=created_after,
        created_before=created_before,
        owner=owner,
        error_code=tuple(code or ()),
        error_message=message,
        finished_after=finished_after,
        finished_before=finished_before,
        batch=batch,
        run_after=run_after,
        run_before=run_before,
        params=params,
    )


@contextmanager
def _commands(name: str) -> Iterator[tuple[Any, "Settings"]]:
    """A module of the commands, and the settings. While libraries are loaded, a tenth of it would be collections."""
    garbage_collector.start()
    settings = _load_settings(logs="never")
    with _errors_in_one_line():
        commands = import_module(f"onward.cli.{name}")
        garbage_collector.started()
        yield commands, settings


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """End the process with one line and exit code 2 on an error of settings, ledger or permissions."""
    from onward.config.errors import SettingsError
    from onward.storage.base import StorageError

    try:
        yield
    except (SettingsError, StorageError) as error:
        cause = error.__cause__ if isinstance(error, StorageError) else None
        _fail(f"{error}: {cause}" if cause else str(error))
    except PermissionError as error:
        _fail(f"this user may not use {error.filename}: change its owner or permissions, or name another path")


def _needs_clone(folder: str) -> None:
    """End with one line and exit code 2 if the command's folder is not part of this installation."""
    if not (ROOT / "onward").is_file() or not (ROOT / folder).is_dir():
        _fail(f"{folder}/ is not in this installation: run the command in a clone of the repository")
    sys.path.insert(0, str(ROOT))


def _fail(line: str) -> NoReturn:
    print(f"onward: {' '.join(line.split())}", file=sys.stderr)
    raise typer.Exit(CANNOT_START)


def _misplaced_project(arguments: list[str]) -> str:
    """Return the message for a --project after the command; empty if there is none."""
    option = next((one for one in arguments if one.partition("=")[0] == "--project"), None)
    if option is None or arguments[0].startswith("-"):
        return ""
    folder = option.partition("=")[2] or next(iter(arguments[arguments.index(option) + 1 :]), "DIR")
    return f"--project goes before the command: onward --project {folder} {arguments[0]}"


def run() -> None:
    """Run the command line; `onward.__main__` is its entry."""
    if misplaced := _misplaced_project(sys.argv[1:]):
        print(f"onward: {misplaced}", file=sys.stderr)
        sys.exit(CANNOT_START)
    try:
        program()(prog_name="onward")
    finally:
        _flush()


def _flush() -> None:
    """Write what has been printed; where nobody reads it any more, end with 1, as a command with more output does."""
    try:
        print(end="", flush=True)
    except BrokenPipeError:
        # Python would write it once more at its end, and print the error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
