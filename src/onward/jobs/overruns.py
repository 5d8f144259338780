"""Functions that go on past the end of their attempt: each keeps its slot under the handler's limits until it ends.

A plain function cannot be ended from outside. Its attempt is over at the time limit, but the next job of the handler
must not begin beside it where the handler has a limit. Such a place ends with the function, or with its process.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from onward.jobs import key_limits
from onward.jobs.model import Job
from onward.storage.sql import insert_new
from onward.storage.tables import overruns, runners
from onward.storage.transaction import Tx

_p = sa.bindparam
_add = insert_new(overruns).values(
    job=_p("job_"), token=_p("token_"), handler=_p("handler_"), runner=_p("runner_"), limit_key=_p("key_")
)
_end = sa.delete(overruns).where(overruns.c.job == _p("job_"), overruns.c.token == _p("token_"))
_forget = sa.delete(overruns).where(overruns.c.runner == _p("runner_")).returning(overruns.c.limit_key)
_of_runner = sa.select(sa.exists(sa.select(overruns.c.job).where(overruns.c.runner == _p("runner_"))))
count_of_handler = (
    sa.select(sa.func.count())
    .where(overruns.c.handler == _p("handler_"), overruns.c.runner.in_(sa.select(runners.c.id)))
    .scalar_subquery()
)
"""The places that functions of the handler keep in processes that live, as part of a statement."""


def add(tx: Tx, job: Job, *, runner: str) -> None:
    """Keep the slot of the job's claim, whose function goes on in that runner. May be called twice."""
    values = {"handler_": job.handler, "runner_": runner, "key_": job.limit_key}
    tx.execute(_add, job_=job.id, token_=job.fencing_token, **values)


def add_all(tx: Tx, jobs: Iterable[Job]) -> None:
    """Keep the slots of all these claims."""
    for job in jobs:
        add(tx, job, runner=job.runner or "")


def end(tx: Tx, job: Job) -> None:
    """Free the slot: the function of the job's claim has ended."""
    tx.execute(_end, job_=job.id, token_=job.fencing_token)
    key_limits.note(tx, job.limit_key)


def forget(tx: Tx, *, runner: str) -> None:
    """Free all slots of a runner whose process is gone."""
    for key in tx.scalars(_forget, runner_=runner):
        key_limits.note(tx, key)


def any_of(tx: Tx, *, runner: str) -> bool:
    """Return whether a function of the runner keeps a slot."""
    return bool(tx.scalar(_of_runner, runner_=runner))
