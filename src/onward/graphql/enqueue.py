"""Accepts a mutation's job in one transaction of the ledger; the idempotency key is looked up first.

The file is long because all ways into the ledger that a mutation has share its checks, and their order.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, overload

from onward.graphql.base import SIGN_IN, GqlError
from onward.graphql.context import Context
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.user_error import UserError
from onward.graphql.viewer import Viewer
from onward.handlers.base import InvalidParameters
from onward.handlers.request import MAX_DELAY
from onward.jobs import idempotency, ledger, uniqueness
from onward.jobs.base import KeyReused, NotUnique
from onward.jobs.model import Job, NewJob, to_us
from onward.storage import lock_order
from onward.storage.base import DiskFull, FileReplaced, Unavailable
from onward.storage.lock_order import ROWS, LockOrder
from onward.storage.transaction import Tx
from onward.text.visibility import is_plain

T = TypeVar("T")


class Identified(Protocol):
    """Anything with an id that an idempotency key can refer to."""

    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=Identified)
KEY_LENGTH = 255


class MutationError(GqlError):
    """The mutation did nothing; `errors` go into its payload."""

    def __init__(self, *errors: UserError) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = list(errors)


@dataclass(frozen=True, slots=True)
class Accepted(Generic[Row]):
    """The accepted job. None if an old key is used again and its job has been pruned since.

    `row` is the one that the mutation's companion wrote beside the job. `replayed` says that the job was there before:
    by an old idempotency key, with the row of then, or as the one that holds the unique key, with a new row.
    """

    job: Job | None
    row: Row | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class ReplaceParams:
    """Replaces the job's parameters where nothing else was written."""

    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Companion(Generic[Row]):
    """A row of the application's own, written in the transaction that accepts the job.

    `write` may raise MutationError, which takes the whole mutation back, or return ReplaceParams and write nothing.
    `get` reads the row by its id where an idempotency key is used again; `name` is what that key's record calls the id.
    """

    name: str
    write: Callable[[Tx], Row | ReplaceParams]
    get: Callable[[Tx, str], Row | None]


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key, as it is looked up."""

    viewer: str
    mutation: str
    key: str
    fingerprint: str

    def replay(self, tx: Tx, companion: Companion[Row] | None) -> Accepted[Row] | None:
        """Return the earlier result of the key; None where the key is new. Raises KeyReused."""
        before = idempotency.replay(tx, **asdict(self))
        if before is None:
            return None
        row = companion.get(tx, before[companion.name]) if companion and companion.name in before else None
        return Accepted(ledger.get(tx, before["job"]), row, replayed=True)

    def remember(self, tx: Tx, accepted: Accepted[Row], companion: Companion[Row] | None) -> None:
        made = {"job": accepted.job, companion.name if companion else "": accepted.row}
        ids = {name: getattr(it, "id", None) for name, it in made.items()}  # a row without one cannot be read again
        idempotency.remember(tx, **asdict(self), reference={name: id_ for name, id_ in ids.items() if id_ is not None})


Named = Callable[[str], list[str]]


def by_parameter(place: str) -> list[str]:
    """Return the path of an error at a place of the parameters, for an input whose fields have the same names."""
    return [place or "input"]


@overload
async def accept(
    context: Context,
    *,
    mutation: str,
    handler: str,
    params: Mapping[str, Any],
    given: Mapping[str, Any],
    key: str | None = None,
    run_at: datetime | None = None,
    companion: None = None,
    named: Named = ...,
) -> Accepted[Identified]: ...


@overload
async def accept(
    context: Context,
    *,
    mutation: str,
    handler: str,
    params: Mapping[str, Any],
    given: Mapping[str, Any],
    key: str | None = None,
    run_at: datetime | None = None,
    companion: Companion[Row],
    named: Named = ...,
) -> Accepted[Row]: ...


async def accept(
    context: Context,
    *,
    mutation: str,
    handler: str,
    params: Mapping[str, Any],
    given: Mapping[str, Any],
    key: str | None = None,
    run_at: datetime | None = None,
    companion: Companion[Row] | None = None,
    named: Named = by_parameter,
) -> Accepted[Row]:
    """Commit a job of `handler` together with its companion row, or return the earlier result of the key.

    `given` is the whole input but the key: what the key stands for. `named` turns the dotted place of a wrong parameter
    into the path of its error. Raises MutationError.
    """
    services, viewer, started = context.services, context.viewer, time.perf_counter()
    check_key(key)
    found = None if key is None else Key(viewer.subject or "", mutation, key, idempotency.fingerprint(given))
    order = ROWS if key is None else lock_order.key(viewer.subject or "", mutation, key)
    when = None if run_at is None else to_us(run_at)

    def prepared(params: Mapping[str, Any]) -> NewJob:
        return services.dispatcher.prepare(handler, params, owner=viewer.subject, run_at=when, trace=context.trace)

    def write(tx: Tx) -> Accepted[Row]:
        if found is not None and (before := found.replay(tx, companion)) is not None:
            return before
        if when is not None and when > tx.now + MAX_DELAY // timedelta(microseconds=1):
            raise MutationError(UserError.invalid("runAt", f"runAt is at most {MAX_DELAY.days} days ahead."))
        _check_room(context, tx, new)
        row, job = None if companion is None else companion.write(tx), new
        if isinstance(row, ReplaceParams):
            job = replace(prepared(row.params), trace=new.trace)
            row = None
        made = _accept_job(context, tx, job)
        accepted = Accepted(made, row, made.replayed)
        if found is not None:
            found.remember(tx, accepted, companion)
        return accepted

    if viewer.is_nobody:
        await _check_anonymous(context, mutation, handler)
    with services.tracing.span(f"accept {handler}", "producer", handler=handler) as span:
        try:
            new = prepared(params)
        except InvalidParameters as error:
            raise MutationError(
                *(
                    UserError(code=UserErrorCode.INVALID, message=message, path=named(path))
                    for path, message in error.errors
                )
            ) from error
        keyed = found is not None or new.unique is not None
        outcome = await written(context, partial(_refused, write, keyed=keyed), uniqueness.order(new, order))
        if outcome.job is not None and not outcome.replayed:
            span.set(job=outcome.job.id)
            services.metrics.accepted(handler, time.perf_counter() - started)
            await context.accept(outcome.job)
    return outcome


def _check_room(context: Context, tx: Tx, new: NewJob) -> None:
    """Raise MutationError if the viewer may open no further job; for a unique one `_accept_job` knows if it is new."""
    if new.unique is None:
        check_open_jobs(context, tx)


def _accept_job(context: Context, tx: Tx, new: NewJob) -> Job:
    """Accept the job, or return the one that holds its unique key. Raises MutationError and NotUnique."""
    job = context.services.dispatcher.accept(tx, new)
    if new.unique is not None:
        uniqueness.refuse_foreign(job, new)
        if not job.replayed:
            check_open_jobs(context, tx, accepted=1)
    return job


def _refused(write: Callable[[Tx], Accepted[Row]], tx: Tx, *, keyed: bool) -> Accepted[Row] | MutationError:
    try:
        return write(tx)
    except KeyReused:
        refused = MutationError(reused())
    except NotUnique:
        refused = MutationError(not_unique())
    except MutationError as error:
        refused = error
    # Raised, it rolls the keys back; without a key nothing was written, and the savepoint can be kept.
    if keyed:
        raise refused
    return refused


async def written(context: Context, function: Callable[[Tx], T | MutationError], order: LockOrder = ROWS) -> T:
    """Run the transaction function; return its result after the commit.

    Raises MutationError; also where the ledger did not answer.
    """
    try:
        outcome = await context.services.writer.run(function, order)
    except Unavailable as error:
        raise MutationError(unavailable(error)) from error
    if isinstance(outcome, MutationError):
        raise outcome
    return outcome


def check_viewer(viewer: Viewer) -> None:
    """Raise MutationError if a token is needed and was missing."""
    if viewer.is_nobody:
        raise MutationError(UserError(code=UserErrorCode.NOT_ALLOWED, message=SIGN_IN, path=None))


def open_jobs_capacity(context: Context, tx: Tx) -> int:
    """Return the number of jobs that the viewer may still open."""
    viewer, most = context.viewer.subject, context.services.open_jobs
    return sys.maxsize if viewer is None or not most else most - ledger.count_open(tx, viewer)


def check_open_jobs(context: Context, tx: Tx, *, accepted: int = 0) -> None:
    """Raise MutationError if the viewer may open no further job, or has opened one too many of `accepted` ones."""
    if open_jobs_capacity(context, tx) + accepted <= 0:
        most = context.services.open_jobs
        message = f"You have {most:,} unfinished jobs, which is the limit. Wait for some, or cancel them."
        raise MutationError(UserError(code=UserErrorCode.RATE_LIMITED, message=message, path=None))


async def _check_anonymous(context: Context, mutation: str, handler: str) -> None:
    """Raise MutationError if the mutation needs a token, or if its callers without one have too many open jobs.

    All of them together may have as many jobs of the handler as one viewer may have of all.
    """
    most = context.services.open_jobs
    if mutation not in context.services.open_to_all:
        check_viewer(context.viewer)
    try:
        found = await context.services.counts.open_anonymous(handler, most) if most else 0
    except Unavailable as error:
        raise MutationError(unavailable(error)) from error
    if most and found >= most:
        message = "Too many registrations are not finished. Try again later."
        raise MutationError(UserError(code=UserErrorCode.RATE_LIMITED, message=message, path=None))


def check_key(key: str | None) -> None:
    """Check an idempotency key. Raises MutationError."""
    if key is not None and not (0 < len(key) <= KEY_LENGTH and is_plain(key)):
        message = f"An idempotency key has 1 to {KEY_LENGTH} characters, none of them a control character."
        raise MutationError(UserError.invalid("idempotencyKey", message))


def reused() -> UserError:
    message = "This idempotency key was used before, with another input. Take a new key for a new input."
    return UserError(code=UserErrorCode.IDEMPOTENCY_KEY_REUSED, message=message, path=["idempotencyKey"])


def not_unique() -> UserError:
    message = "Only one such job is allowed at a time, and somebody else's is there. Try again once it is over."
    return UserError(code=UserErrorCode.CONFLICT, message=message, path=None)


def unavailable(error: Unavailable) -> UserError:
    if isinstance(error, DiskFull):
        message = "The ledger's disk is full, and this was not accepted. Send it again once there is space."
        return UserError(code=UserErrorCode.UNAVAILABLE, message=message, path=None)
    if isinstance(error, FileReplaced):
        message = "The ledger is not where it was, and this was not accepted. Send it again once it is back."
        return UserError(code=UserErrorCode.UNAVAILABLE, message=message, path=None)
    message = (
        "The ledger did not answer in time, and this may have been accepted or not. Send it again in a while:"
        " with the same idempotency key where it has one, so that it is not done twice."
    )
    return UserError(code=UserErrorCode.UNAVAILABLE, message=message, path=None)
