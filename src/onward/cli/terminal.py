"""The commands of `onward jobs`: show jobs and control them.

Each function gives the exit code: 0, or 1 where something was refused or did not succeed, or 3 for an unknown id.

The file is long because the commands share how jobs are found, printed and refused.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from onward.backends.base import Health
from onward.cli import job_text, log_text
from onward.cli.progress_bar import bar
from onward.cli.signal_schema import SignalSchema, short, signal_schema
from onward.config.settings import Settings, SettingsError
from onward.dispatch.patterns import Routes
from onward.jobs import chunks, commands, concurrency, key_limits, ledger, log_lines, pages
from onward.jobs.base import Conflict, NotFound
from onward.jobs.bulk import Bulk, BulkCancel, BulkRetry
from onward.jobs.limits import Limit
from onward.jobs.model import EVERYTHING, Job, JobChunk, JobFilter, JobLogLine, JobWait
from onward.jobs.row import LARGE
from onward.jobs.states import JobStatus
from onward.jobs.waiting import taken, waits_for
from onward.runtime.database import database_of
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.text.patterns import matches
from onward.text.queues import DEFAULT

DONE, REFUSED, UNKNOWN = 0, 1, 3  # 2 is for what cannot start
POLL_INTERVAL_S = 0.25
SHOWN = 20
PIPED_COLUMNS = 240
TAIL_LINES, TAIL_CHARACTERS = 10, 4_000  # of a job's output or log, below the job
MAX_CHILDREN = 200  # of a job, as JSON
NO_PAYLOAD = {"type": "null"}  # the schema of a signal without one


def list_jobs(settings: Settings, wanted: JobFilter, limit: int, *, as_json: bool) -> int:
    """Print the newest matching jobs: a table, or one JSON object on each line."""
    with ledger_of(settings) as database:
        found = _newest(database, wanted, limit)
    if as_json:
        for job in found:
            print(json.dumps(job_text.as_object(job)))
    else:
        out().print(job_text.table(found) if found else "no jobs")
    return DONE if found else _known(settings, wanted.handler)


def _newest(database: Database, wanted: JobFilter, limit: int) -> list[Job]:
    """Return the newest matching jobs; a filter by parameters takes several pages."""
    found: list[Job] = []
    after = None
    while True:
        look = partial(pages.page, visible=EVERYTHING, filter=wanted, first=limit - len(found), after=after)
        page = database.read_sync(look)
        found += page.jobs
        if len(found) >= limit or not page.has_next:
            return found
        after = page.end


def show(settings: Settings, job_id: str, *, as_json: bool) -> int:
    """Print one job, the jobs that it has dispatched, and the reason why it waits."""

    def look(
        tx: Tx,
    ) -> tuple[Job | None, Mapping[str, concurrency.HandlerLimits], Mapping[str, Limit], Collection[str]]:
        return ledger.get(tx, job_id), concurrency.all_limits(tx), key_limits.limits(tx), taken(tx)

    limit, most = (log_lines.MAX_LINES, MAX_CHILDREN) if as_json else (TAIL_LINES, TAIL_LINES)
    with ledger_of(settings) as database:
        job, there, by_key, takes = database.read_sync(look)
        lines = database.read_sync(lambda tx: log_lines.newest(tx, job_id, limit))
        children = database.read_sync(lambda tx: _children(tx, job_id, most))
    if job is None:
        return _unknown(job_id)
    asked = job.status is JobStatus.QUEUED and job.blocked is None  # else it waits for something else
    health = _health(settings, job.backend_name) if asked else None
    answers, reason = (None, "") if health is None else (health.reachable, health.reason)
    here = job.queue == DEFAULT or job.backend in takes
    waiting = waits_for(job, there.get(job.handler), by_key=by_key, answers=answers, reason=reason, taken=here)
    takes_signal = None if job.wait is None else signal_schema(settings, job.wait)
    if as_json:
        shown = {
            **job_text.as_object(job),
            "children": job_text.child_objects(children.jobs),
            "moreChildren": children.has_next,
            "waitingFor": waiting,
            "logLines": log_text.as_objects(lines),
        }
        if takes_signal is not None:
            shown["wait"] |= {"schema": takes_signal.schema, "schemaProblem": takes_signal.problem}
        print(json.dumps(shown))
        return DONE
    out().print(job_text.whole(job), *([Text(f"waits for {job_text.plain(waiting)}")] if waiting else []), sep="\n")
    if job.wait is not None and takes_signal is not None and (takes_signal.schema or takes_signal.problem):
        out().print(_payload(job, job.wait, takes_signal), soft_wrap=True)
    if children.jobs:
        out().print(*job_text.children(children.jobs, has_more=children.has_next), sep="\n")
    if lines:
        out().print(log_text.whole(lines), soft_wrap=True)
    return DONE


def _children(tx: Tx, job_id: str, most: int) -> pages.Page:
    """Return the newest jobs that the job has dispatched."""
    return pages.page(tx, visible=EVERYTHING, filter=JobFilter(), first=most, parent=job_id, without=LARGE)


def _payload(job: Job, wait: JobWait, takes: SignalSchema) -> Text:
    """Say how the signal is sent, and which payload it takes."""
    if takes.problem is not None:
        return Text(f"its payload is not known: {job_text.plain(takes.problem)}")
    command = f"end the wait by: onward jobs signal {job.id} {job_text.plain(wait.name)}"
    if takes.schema == NO_PAYLOAD:
        return Text(f"{command}, without a payload")
    return Text(f"{command} --payload JSON\nits payload has the JSON Schema {json.dumps(short(takes.schema))}")


def watch(settings: Settings, job_id: str | None, *, as_json: bool) -> int:
    """Follow the newest jobs until Ctrl-C, or one job until it is over; return 1 unless it succeeded.

    Into a pipe, and as JSON, each change is a line.
    """
    with ledger_of(settings) as database:
        return _watch_job(database, job_id, as_json=as_json) if job_id else _watch_all(database, as_json=as_json)


def output(settings: Settings, job_id: str, *, after: int | None, as_json: bool) -> int:
    """Print the job's output as it comes, until the job is over; return 1 unless it succeeded.

    Texts follow each other as they are, any other chunk is a line. As JSON each chunk is a line. A step that runs
    again, and chunks that are no longer kept, are told on standard error.
    """
    printer = OutputPrinter(after, as_json=as_json)
    with ledger_of(settings) as database:
        while True:
            page = database.read_sync(lambda tx: chunks.page(tx, job_id, after=printer.offset, visible=EVERYTHING))
            if page is None:
                return _unknown(job_id)
            for chunk in page.chunks:
                printer.show(chunk)
            if page.is_last and page.done:
                break
            if page.is_last:
                time.sleep(POLL_INTERVAL_S)
        printer.end()
        job = database.read_sync(lambda tx: ledger.get(tx, job_id))
    return DONE if job is not None and job.status is JobStatus.SUCCEEDED else REFUSED


class OutputPrinter:
    """Prints chunks in their order."""

    def __init__(self, after: int | None, *, as_json: bool) -> None:
        self.offset = -1 if after is None else max(after, -1)  # of the last chunk
        self._as_json = as_json
        self._attempts: dict[str, int] = {}  # by step
        self._in_line = False  # the last text did not end its line

    def show(self, chunk: JobChunk) -> None:
        missing, self.offset = chunk.offset - self.offset - 1, chunk.offset
        if self._as_json:
            print(json.dumps(asdict(chunk)), flush=True)
            return
        if missing:
            self._remark(f"{missing} chunks before offset {chunk.offset} are no longer kept")
        if self._attempts.setdefault(chunk.step, chunk.attempt) != chunk.attempt:
            self._remark(f"{job_text.plain(chunk.step)} again, in attempt {chunk.attempt}")
        self._attempts[chunk.step] = chunk.attempt
        if isinstance(chunk.data, str):
            print(job_text.lines(chunk.data), end="", flush=True)
            self._in_line = not chunk.data.endswith("\n") if chunk.data else self._in_line
        else:
            self.end()
            print(json.dumps(chunk.data), flush=True)

    def end(self) -> None:
        """End the line that a text has begun."""
        if self._in_line:
            print(flush=True)
        self._in_line = False

    def _remark(self, words: str) -> None:
        self.end()
        Console(stderr=True).print(words, style="bright_black", highlight=False)


def logs(settings: Settings, job_id: str, *, as_json: bool) -> int:
    """Print the log lines of the job; as JSON each is a line."""

    def look(tx: Tx) -> tuple[Job | None, list[JobLogLine]]:
        return ledger.get(tx, job_id), log_lines.newest(tx, job_id, log_lines.MAX_LINES)

    with ledger_of(settings) as database:
        job, lines = database.read_sync(look)
    if job is None:
        return _unknown(job_id)
    if as_json:
        for line in log_text.as_objects(lines):
            print(json.dumps(line))
    else:
        out().print(log_text.whole(lines) if lines else "no log lines", soft_wrap=True)
    return DONE


def cancel(settings: Settings, ids: Sequence[str], *, reason: str | None, as_json: bool) -> int:
    """Cancel waiting jobs, and request the end of running ones."""
    return _command(
        settings, ids, lambda tx, one: commands.cancel(tx, one, reason=reason, visible=EVERYTHING), as_json=as_json
    )


def retry(settings: Settings, ids: Sequence[str], *, from_start: bool, as_json: bool) -> int:
    """Queue the jobs for a new run."""
    route = _routes(settings)
    return _command(
        settings,
        ids,
        lambda tx, one: commands.retry(tx, one, from_start=from_start, visible=EVERYTHING, route=route),
        as_json=as_json,
    )


def retry_matching(settings: Settings, wanted: JobFilter, limit: int) -> int:
    """Queue up to `limit` matching jobs for a new run, a small batch in each commit."""
    route = _routes(settings)
    with writer_of(settings) as writer:
        retries = BulkRetry(writer=writer, wanted=wanted, visible=EVERYTHING, route=route, left=limit, pause=1.0)
        done, found, more = _all(retries, commands.retryable, "retrying")
    print(f"{'1 job waits' if done == 1 else f'{done} jobs wait'} for a new run{more}")
    return DONE if found else _known(settings, wanted.handler)


def cancel_matching(settings: Settings, wanted: JobFilter, limit: int, *, reason: str | None) -> int:
    """Cancel up to `limit` matching jobs, a small batch in each commit."""
    with writer_of(settings) as writer:
        cancels = BulkCancel(writer=writer, wanted=wanted, visible=EVERYTHING, left=limit, pause=1.0, reason=reason)
        done, found, more = _all(cancels, commands.cancellable, "cancelling")
    print(f"{'1 job is' if done == 1 else f'{done} jobs are'} cancelled, or asked to stop{more}")
    return DONE if found else _known(settings, wanted.handler)


def _all(bulk: Bulk, matching: Callable[..., pages.Found], word: str) -> tuple[int, bool, str]:
    """Change the jobs of a bulk command; return how many were changed, whether any matched, and a hint at further ones.

    The hint is empty unless the limit leaves some out.
    """
    limit, read = bulk.left, bulk.writer.database.read_sync
    total, beyond = 0, ""
    while total <= limit:  # one more shows that the limit leaves some out
        found = read(partial(matching, filter=bulk.wanted, limit=limit + 1 - total, visible=EVERYTHING, beyond=beyond))
        total += len(found.ids)
        if found.beyond is None:
            break
        beyond = found.beyond

    async def change() -> int:
        done = 0
        with bar(word, min(total, limit)) as show:
            while bulk.left > 0:
                done += len(await bulk.next())
                show(limit - bulk.left)
        return done

    more = f"; more than {limit} match: run the command again, or give a higher --limit" if total > limit else ""
    return asyncio.run(change()), total > 0, more


def pause(settings: Settings, names: Sequence[str]) -> int:
    """Pause the matching handlers."""
    by = user()
    return _switch(settings, names, "paused", lambda tx, one: concurrency.pause(tx, one, by=by))


def user() -> str:
    """Return the name of the user, or the number of one without a name, as containers have them."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the latter from Python 3.13 on
        return f"uid {os.getuid()}"


def resume(settings: Settings, names: Sequence[str]) -> int:
    """Resume the matching handlers."""
    return _switch(settings, names, "resumed", concurrency.resume)


def _routes(settings: Settings) -> Routes:
    """Return the destinations by the settings alone; a job keeps the queue of its handler, which is not loaded."""
    queues = {name: queue.queue for name, queue in settings.queues.items()}
    return Routes(settings.backend, settings.routes, queues)


def _health(settings: Settings, name: str) -> Health | None:
    """Ask the backend for its health; None for one that the settings do not use, which may be configured elsewhere."""
    from onward.runtime import backends

    if name not in backends.used(settings):
        return None
    try:
        return backends.health(backends.build_backend(settings, name, backends.ProbeRunner()))
    except SettingsError:
        return Health(reachable=False)


def _command(settings: Settings, ids: Sequence[str], move: Callable[[Tx, str], Job], *, as_json: bool) -> int:
    worst = DONE
    shown = nullcontext(lambda _: None) if as_json else bar(f"{len(ids)} jobs", len(ids))
    with writer_of(settings) as writer, shown as show:
        for number, one in enumerate(ids):
            show(number)
            try:
                job = writer.run_sync(lambda tx, one=one: move(tx, one))  # type: ignore[misc]
            except NotFound:
                worst = max(worst, _unknown(one))
            except Conflict as conflict:
                fail(f"{job_text.plain(one)}: {job_text.plain(str(conflict))}")
                worst = max(worst, REFUSED)
            else:
                print(json.dumps(job_text.as_object(job)) if as_json else f"{one} {job.status}")
    return worst


def _switch(settings: Settings, names: Sequence[str], word: str, turn: Callable[[Tx, str], object]) -> int:
    worst = DONE
    known = _handlers(settings)
    with writer_of(settings, make=True) as writer:  # a handler may be paused before the first start
        # Also those that this release has no more, for the jobs that wait for them.
        there = {*known, *(found.handler for found in writer.database.read_sync(concurrency.pauses))}
        for name in names:
            found = sorted(one for one in there if matches(one, name))
            for one in found:
                writer.run_sync(lambda tx, one=one: turn(tx, one))  # type: ignore[misc]
                print(f"{job_text.plain(one)} {word}")
            if not found:
                worst = no_such_handler(name, known)
    return worst


def _known(settings: Settings, names: Sequence[str]) -> int:
    """Report names and patterns that match neither a job nor a handler."""
    known = _handlers(settings) if names else ()
    worst = DONE
    for name in names:
        if not any(matches(one, name) for one in known):
            worst = no_such_handler(name, known)
    return worst


def _handlers(settings: Settings) -> Collection[str]:
    from onward.runtime.handlers import load_handlers

    return load_handlers(settings)


def no_such_handler(name: str, known: Collection[str]) -> int:
    fail(f"{job_text.plain(name)}: there is no such handler; known are {', '.join(sorted(known))}")
    return UNKNOWN


def _watch_job(database: Database, job_id: str, *, as_json: bool) -> int:
    console = Console()
    seen, tail = 0, OutputTail()

    def look(tx: Tx) -> tuple[Job | None, chunks.Page | None]:
        return ledger.get(tx, job_id), chunks.page(tx, job_id, after=tail.offset, visible=EVERYTHING)

    with ExitStack() as stack:
        shown = not as_json and redraws(console)
        live = stack.enter_context(Live(console=console, auto_refresh=False, transient=False)) if shown else None
        while True:
            job, page = database.read_sync(look)
            if job is None or page is None:
                return _unknown(job_id)
            if live is not None and (job.version != seen or page.chunks):
                tail.add(page.chunks)
                live.update(Group(job_text.whole(job), *tail.lines()), refresh=True)
            elif live is None and job.version != seen:
                print(json.dumps(job_text.as_object(job)) if as_json else job_text.line(job), flush=True)
            seen = job.version
            if live is not None and not page.is_last:
                continue
            if job.done:
                return DONE if job.status is JobStatus.SUCCEEDED else REFUSED
            time.sleep(POLL_INTERVAL_S)


class OutputTail:
    """The last lines of a job's output, for a screen that shows the job as well."""

    def __init__(self) -> None:
        self.offset = -1
        self._attempts: dict[str, int] = {}  # by step
        self._text = ""

    def add(self, found: Sequence[JobChunk]) -> None:
        """Add chunks. Those of a step that runs again begin anew."""
        for chunk in found:
            if self._attempts.setdefault(chunk.step, chunk.attempt) != chunk.attempt:
                self._attempts[chunk.step], self._text = chunk.attempt, ""
            text = chunk.data if isinstance(chunk.data, str) else f"{json.dumps(chunk.data)}\n"
            self._text = (self._text + job_text.lines(text))[-TAIL_CHARACTERS:]
            self.offset = chunk.offset

    def lines(self) -> list[Text]:
        """Return the last lines, under each other."""
        return [Text(f"  {line}", no_wrap=True, overflow="crop") for line in self._text.splitlines()[-TAIL_LINES:]]


def _watch_all(database: Database, *, as_json: bool) -> int:
    console = Console()
    seen: dict[str, int] = {}

    def look(tx: Tx) -> tuple[dict[JobStatus, int], tuple[Job, ...]]:
        page = pages.page(tx, visible=EVERYTHING, filter=JobFilter(), first=SHOWN)
        return ledger.counts(tx, visible=EVERYTHING), page.jobs

    with ExitStack() as stack:
        shown = not as_json and redraws(console)
        live = stack.enter_context(Live(console=console, auto_refresh=False)) if shown else None
        try:
            while True:
                counts, found = database.read_sync(look)
                if live is not None:
                    live.update(
                        Group(job_text.counts(counts), job_text.table(found) if found else Text("no jobs")),
                        refresh=True,
                    )
                else:
                    for job in reversed(found):
                        if seen.get(job.id) != job.version:
                            print(json.dumps(job_text.as_object(job)) if as_json else job_text.line(job), flush=True)
                    seen = {job.id: job.version for job in found}
                time.sleep(POLL_INTERVAL_S)
        except KeyboardInterrupt:
            return DONE


def redraws(console: Console) -> bool:
    """Return whether the console is a terminal that can draw over what it shows.

    Rich takes a pipe for a terminal where FORCE_COLOR is set, as many CI services do.
    """
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal


def out() -> Console:
    """Return a console on standard output; lines for another program keep their length."""
    console = Console(highlight=False)
    return console if console.file.isatty() else Console(highlight=False, width=PIPED_COLUMNS)


def _unknown(job_id: str) -> int:
    fail(f"{job_text.plain(job_id)}: there is no such job")
    return UNKNOWN


def fail(line: str) -> None:
    Console(stderr=True).print(line, style="red", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def ledger_of(settings: Settings, *, make: bool = False) -> Iterator[Database]:
    """The ledger, which has to be there unless `make` allows to make it."""
    database = database_of(settings)
    try:
        (migrate.ensure if make else migrate.require)(database)
        yield database
    finally:
        database.close()


@contextmanager
def writer_of(settings: Settings, *, make: bool = False) -> Iterator[Writer]:
    with ledger_of(settings, make=make) as database:
        writer = Writer(database)
        writer.start()
        try:
            yield writer
        finally:
            writer.close()
