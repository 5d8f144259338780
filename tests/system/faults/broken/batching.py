"""Breaks of batches."""

from typing import Any

import sqlalchemy as sa

from tests.system.faults.broken import base


def failures_shrugged_off() -> None:
    """Let a batch go on after a child has failed, though it asked to be stopped."""
    from onward.jobs import batches

    base.around(batches, "_open_and_failed", lambda read: lambda *given: (read(*given)[0], False))


def nested_forgotten() -> None:
    """Do not wait for the batches in a batch."""
    from onward.jobs import batches

    failed = sa.or_(batches._child_failed, batches._any_nested_failed.exists())
    base.put(batches, "_standing", sa.select(batches._child_open, failed))


def results_backwards() -> None:
    """Give the results of a page in the opposite order."""
    from onward.jobs import batch_children

    def backwards(results: Any) -> Any:
        def read(tx: Any, **named: Any) -> Any:
            found = results(tx, **named)
            return [(at, child) for (at, _), (_, child) in zip(found, reversed(found), strict=True)]

        return read

    base.around(batch_children, "results", backwards)


def followed_twice() -> None:
    """Accept the job that follows a batch two times."""
    from onward.jobs import batches

    def twice(next_: Any) -> Any:
        def followed(tx: Any, batch: Any, to: Any, accept: Any, route: Any) -> Any:
            next_(tx, batch, to, accept, route)
            return next_(tx, batch, to, accept, route)

        return followed

    base.around(batches, "_next", twice)


def never_followed() -> None:
    """Leave every batch as it is."""
    from onward.jobs import batches

    base.put(batches, "advance", lambda *_, **__: [])


def children_left_alone() -> None:
    """Cancel a batch, and none of its children."""
    from onward.jobs import batches

    base.put(batches, "cancel_children", lambda *_, **__: None)


def retries_no_child() -> None:
    """Retry a batch, and none of its children."""
    from onward.jobs import batches

    base.put(batches, "retry_children", lambda *_, **__: batches.Retried([], None))


def ends_elsewhere_unseen() -> None:
    """Look at a batch only where a child of it has ended in a runner."""
    from onward.jobs import batches

    base.put(batches, "unattended", lambda _tx, since: ([], since))


def staged_at_once() -> None:
    """Make jobs of the children of a batch while it is being made."""
    from onward.jobs import dispatched

    base.put(dispatched, "STAGED", 0)
