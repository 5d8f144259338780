"""`accept` as mutations of release 0.1 call it: `write=` writes rows beside the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onward.graphql.context import Context
from onward.graphql.enqueue import Accepted, Companion, ReplaceParams, accept
from onward.storage.transaction import Tx


async def accept_with_write(
    context: Context, *, write: Callable[[Tx], object] | None = None, **given: Any
) -> Accepted[Any]:
    """Commit a job together with what `write` writes. Raises MutationError."""

    def written(tx: Tx) -> Any:
        found = None if write is None else write(tx)
        return found if isinstance(found, ReplaceParams) else None

    # Nothing to read back where a key is used again: release 0.1 left the row to the project.
    companion = Companion[Any]("", written, lambda _tx, _id: None) if write is not None else None
    return await accept(context, companion=companion, **given)
