"""Ways to break the program on purpose: each turns some law of the harness red, or that law is worth nothing.

`BREAKS` says which law each was seen to turn red. A process started by the launcher takes one by name.
"""

# mypy: disable-error-code="attr-defined, assignment, method-assign"

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

BREAK = "FAULTS_BREAK"


def answer_before_commit() -> None:
    """The commit is undone after all have been told: what a missing sync does when the power goes."""
    from storage.engine import Tx

    original = Tx.raw

    def raw(self: Tx, sql: str) -> None:
        original(self, "ROLLBACK" if sql == "COMMIT" and getattr(self, "accepting", False) else sql)

    _flag_accepting()
    Tx.raw = raw


def _flag_accepting() -> None:
    from jobs import ledger

    original = ledger.accept

    def accept(tx: Any, *arguments: Any, **named: Any) -> Any:
        tx.accepting = True
        return original(tx, *arguments, **named)

    ledger.accept = accept


def no_sync() -> None:
    """SQLite leaves it to the kernel when the journal reaches the disk."""
    from storage.engine import Database

    original = Database._connect_sqlite

    def connect(self: Database) -> Any:
        connection = original(self)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    Database._connect_sqlite = connect


def no_rescue() -> None:
    """Nobody takes over from the dead."""
    from jobs.leases import Lease

    Lease._bury = lambda *_: None


def no_fence() -> None:
    """The outcome of a claim that is over is written all the same."""
    import sqlalchemy as sa

    from jobs import claims
    from jobs.ledger import ID

    claims._settle = sa.update(claims.jobs).where(ID).values(_values(claims._settle)).returning(claims.jobs.c.version)


def _values(statement: Any) -> Any:
    return {column.name: value for column, value in statement._values.items()}


def steps_forgotten() -> None:
    """A job that goes on elsewhere begins at its first step."""
    from dataclasses import replace

    from jobs import runner
    from jobs.model import Step

    original = runner.Runner.carry

    async def carry(self: Any, job: Any) -> None:
        await original(self, replace(job, steps=tuple(Step(step.name, step.index) for step in job.steps)))

    runner.Runner.carry = carry


def no_claim() -> None:
    """Two deliveries are two runs."""
    import sqlalchemy as sa

    from jobs import claims
    from jobs.ledger import ID

    values = _values(claims._claim)
    which = (ID, claims.jobs.c.deaths <= sa.bindparam("deaths_"))
    claims._claim = sa.update(claims.jobs).where(*which).values(values).returning(*claims.jobs.c)


def keys_ignored() -> None:
    """Idempotency keys mean nothing."""
    from jobs import idempotency

    idempotency.replay = lambda *_, **__: None


def no_sweep() -> None:
    """What was not delivered at once never is."""
    from backends.sweep import Sweep

    async def nothing(self: Any, name: str) -> None:
        return

    Sweep._deliver = nothing


def impatient() -> None:
    """A process whose counter stood still for a moment is taken for dead."""
    from jobs import leases

    leases.LAPSE_S = 0.0


def children_apart() -> None:
    """A job's further jobs are accepted whether or not its outcome is."""
    from jobs import runner

    original = runner.Runner._perform

    async def perform(self: Any, running: Any) -> Any:
        steps, outcome = await original(self, running)
        for child in running.children:
            await self._writer.run(lambda tx, child=child: self._further.accept(tx, child))
        return steps, outcome

    runner.Runner._perform = perform


def charged_for_all() -> None:
    """A death is charged to the job."""
    from dataclasses import replace

    from jobs import claims

    original = claims._write

    def write(tx: Any, job: Any, source: Any, outcome: Any, *rest: Any) -> bool:
        return original(tx, job, source, replace(outcome, charged=True), *rest)

    claims._write = write


def blocking_delivery() -> None:
    """The event loop itself waits for Redis."""
    from backends import dramatiq

    async def deliver(self: Any, deliveries: Any, *, after_response: Any) -> None:
        self.broker.enqueue_many([delivery.job_id for delivery in deliveries])

    dramatiq.Dramatiq.deliver = deliver


def effect_first_lost() -> None:
    """A line counts as written before it is."""
    from handlers.logging import JsonLines

    JsonLines.append = lambda *_: None


def undecodable_kills() -> None:
    """A message that cannot be read takes its neighbours along, as it does in Dramatiq."""
    from backends import dramatiq

    del dramatiq._BlockingConsumer._cached_or_fetched
    dramatiq._BlockingConsumer.__next__ = dramatiq._RedisConsumer.__next__


BREAKS: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            answer_before_commit,
            no_sync,
            no_rescue,
            no_fence,
            steps_forgotten,
            no_claim,
            keys_ignored,
            no_sweep,
            impatient,
            children_apart,
            charged_for_all,
            blocking_delivery,
            effect_first_lost,
            undecodable_kills,
        )
    }
)


def install(name: str) -> None:
    BREAKS[name]()
