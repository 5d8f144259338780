"""A job as text for a terminal, and as JSON with GraphQL's names."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from onward.jobs.model import Job, to_datetime
from onward.jobs.states import JobStatus

STYLES = {
    JobStatus.SCHEDULED: "blue",
    JobStatus.QUEUED: "cyan",
    JobStatus.RUNNING: "yellow",
    JobStatus.RETRYING: "magenta",
    JobStatus.WAITING: "blue",
    JobStatus.CANCELLING: "magenta",
    JobStatus.SUCCEEDED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "bright_black",
}


def as_object(job: Job) -> dict[str, Any]:
    """Return the job as JSON, with GraphQL's names."""
    attempts = []
    for one in job.attempts:
        fields = {**asdict(one), "backend": one.backend_name, "error": _error(one.error)}
        attempts.append({"number": fields.pop("number"), "charged": fields.pop("counts_as_attempt"), **fields})
    return {
        "id": job.id,
        "handler": job.handler,
        "status": job.status.value,
        "done": job.done,
        "backend": job.backend_name,
        "queue": job.queue,
        "owner": job.owner,
        "priority": job.priority,
        "limitKey": job.limit_key,
        "parent": job.parent,
        "batch": job.batch,
        "version": job.version,
        "progress": asdict(job.progress) if job.progress else None,
        "steps": [_named(asdict(step)) for step in job.steps],
        "attempts": [_named(attempt) for attempt in attempts],
        "maxAttempts": job.max_attempts,
        **_named(
            {key: getattr(job, key) for key in ("created_at", "run_at", "expires_at", "started_at", "finished_at")}
        ),
        "result": job.result,
        "error": _error(job.error),
        "reason": job.reason,
        "wait": None
        if job.wait is None
        else {"name": job.wait.name, "since": iso(job.wait.since), "until": iso(job.wait.until)},
    }


def iso(us: int | None) -> str | None:
    return None if us is None else to_datetime(us).isoformat()


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    """Rename keys as in GraphQL, and write times as ISO 8601."""
    named = {}
    for name, value in fields.items():
        head, *tail = name.split("_")
        named[head + "".join(part.title() for part in tail)] = iso(value) if name.endswith("_at") else value
    return named


def _error(error: Any) -> dict[str, Any] | None:
    return _named(asdict(error)) if error else None


def table(found: Sequence[Job]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("job", "status", "handler", "created", "took", "progress or error"):
        made.add_column(heading, no_wrap=True, min_width=len(found[0].id) if heading == "job" else None)
    for job in found:
        row = (plain(job.handler), _created(job), _took(job), _remark(job))
        made.add_row(job.id, _status(job), *(Text(cell) for cell in row))
    return made


def whole(job: Job) -> Group:
    """Format a job for a person: state, batch and parent, steps, attempts, result or error."""
    head = Text.assemble(f"{job.id}  {plain(job.handler)}  ", _status(job), f"  on {plain(job.backend)}")
    parts: list[Any] = [
        head,
        Text(f"created {moment(job.created_at)}  {_took(job)}".rstrip()),
        *(Text(plain(line)) for line in _relations(job)),
    ]
    if job.progress and job.progress.total:
        bar = ProgressBar(total=job.progress.total, completed=job.progress.completed, width=40)
        line = Table.grid(padding=(0, 1))  # a bar alone does not end its line
        line.add_row(" ", bar, Text(f"{job.progress.completed} of {job.progress.total}"))
        parts.append(line)
    parts += [Text(f"  {step.index + 1}. {plain(step.name):<24} {step.status}") for step in job.steps]
    for attempt in job.attempts:
        outcome = f"{attempt.error.code}: {attempt.error.message}" if attempt.error else ""
        counted = "" if attempt.counts_as_attempt else " (not charged)"
        parts.append(Text(f"  attempt {attempt.number}{counted} by {plain(attempt.worker)} {plain(outcome)}".rstrip()))
    if job.error:
        parts.append(Text(plain(f"{job.error.code}: {job.error.message}"), style="red"))
    if job.reason:
        parts.append(Text(f"reason for cancelling: {plain(job.reason)}"))
    if job.result is not None:
        parts.append(Text(json.dumps(job.result, ensure_ascii=True)))
    return Group(*parts)


def _relations(job: Job) -> list[str]:
    """Return lines on the jobs and limits around the job, and on its expiry; none for a job without any."""
    found = []
    if job.batch is not None:
        found.append(f"child {'' if job.position is None else f'{job.position + 1} '}of {job.batch}")
    if job.parent is not None:
        found.append(f"dispatched by {job.parent}")
    if job.limit_key is not None:
        found.append(f"limit key {job.limit_key}")
    if job.expires_at is not None:
        found.append(f"expires {moment(job.expires_at)}, unless it has begun")
    return found


def children(found: Sequence[Job], *, has_more: bool) -> list[Text]:
    """Return a heading, and a line for each of the newest jobs that a job has dispatched."""
    heading = f"dispatched {len(found)} {'job' if len(found) == 1 else 'jobs'}"
    if has_more:
        heading = f"dispatched more than {len(found)} jobs; the newest"
    return [Text(f"{heading}:"), *(Text.assemble(f"  {one.id}  {plain(one.handler)}  ", _status(one)) for one in found)]


def child_objects(found: Sequence[Job]) -> list[dict[str, str]]:
    """Return the jobs that a job has dispatched as JSON."""
    return [{"id": one.id, "handler": one.handler, "status": one.status.value} for one in found]


def moment(us: int) -> str:
    """Return the time in this machine's time zone."""
    return f"{to_datetime(us).astimezone():%Y-%m-%d %H:%M:%S}"


def counts(of: dict[JobStatus, int]) -> Text:
    return Text("   ").join(Text(f"{status} {n}", style=STYLES[status]) for status, n in of.items())


def line(job: Job) -> str:
    return f"{job.id} {plain(job.handler)} {job.status} {_remark(job)}".rstrip()


def _status(job: Job) -> Text:
    return Text(job.status, style=STYLES[job.status])


def _created(job: Job) -> str:
    created, now = to_datetime(job.created_at).astimezone(), datetime.now().astimezone()
    return f"{created:%H:%M:%S}" if created.date() == now.date() else f"{created:%Y-%m-%d}"


def _took(job: Job) -> str:
    if job.started_at is None or job.finished_at is None:
        return ""
    return f"{(job.finished_at - job.started_at) / 1_000_000:.2f} s"


def _remark(job: Job) -> str:
    if job.status is JobStatus.CANCELLED and job.reason:
        return plain(job.reason)
    if job.error:
        return plain(f"{job.error.code}: {job.error.message}")
    if job.progress and not job.done:
        total = f"/{job.progress.total}" if job.progress.total else ""
        return plain(f"{job.progress.completed}{total} {job.progress.message or ''}".rstrip())
    return ""


def plain(text: str) -> str:
    """Return the text without control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lines(text: str) -> str:
    """Return the text of several lines without other control characters than their ends and tabs."""
    return "".join(c if c in "\n\t" else plain(c) for c in text)
