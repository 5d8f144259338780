"""Makes a batch: its children become chunks, as those of `dispatched`, and its rows are known when the last one is.

Chunks are staged in the ledger while the children are still being looked at, so that a batch of any length takes the
same memory; they belong to nothing until the batch is accepted, in one commit: a crash before leaves no part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson

from onward.handlers.base import BatchRequest, InvalidParameters, JobRequest
from onward.handlers.batch import MAX_BATCHES, MAX_CHILDREN, MAX_DEPTH
from onward.jobs import batches, dispatched
from onward.jobs.base import JobsError
from onward.jobs.dispatched import CHUNK, Insert
from onward.jobs.model import Job, NewJob
from onward.storage.transaction import Tx

STAGE = 4  # chunks that one commit stages


class StagingLost(JobsError):
    """Staged chunks are gone: the batch took longer than a day to make."""


class Making:
    """One batch with all that it holds, while it is made. Nothing is written but by `stage` and `accept`.

    `prepare` checks a job's parameters and gives it its id; `new_id` makes ids that grow.
    """

    def __init__(
        self,
        request: BatchRequest,
        *,
        prepare: Callable[[JobRequest], NewJob],
        new_id: Callable[[str], str],
        owner: str | None,
        job: str | None = None,
    ) -> None:
        self.id = new_id("batch")
        self.pending: list[tuple[str, str]] = []  # chunks that are not staged yet
        self._request = request
        self._prepare = prepare
        self._new_id = new_id
        self._owner = owner
        self._job = job
        self._first: list[NewJob] = []  # accepted as jobs with the batch
        self._staged = 0
        self._rows: list[dict[str, Any]] = []
        self._children = 0

    def __iter__(self) -> Iterator[None]:
        """Look at the children, and return after each chunk. Raises InvalidParameters, TypeError and ValueError."""
        chunk: list[NewJob] = []
        for new in self._jobs(self._request, self.id, None, None, 1):
            chunk.append(new)
            if len(chunk) == CHUNK:
                self._add(chunk)
                chunk = []
                yield
        if chunk:
            self._add(chunk)

    def _add(self, chunk: list[NewJob]) -> None:
        if self._first:
            self.pending.append(dispatched.encode_chunk(chunk))
        else:
            self._first = chunk

    def _jobs(
        self, request: BatchRequest, id_: str, parent: str | None, position: int | None, depth: int
    ) -> Iterator[NewJob]:
        """Yield the jobs of a batch and of those in it, in their order; then note its row."""
        if depth > MAX_DEPTH:
            raise ValueError(f"batches are nested at most {MAX_DEPTH} deep")
        # Before the children: a wrong one is refused before they are looked at.
        on_success = self._follower(request.then, "then", parent, position)
        on_failure = self._follower(request.on_failure, "on_failure")
        total = jobs = 0
        for at, child in enumerate(request.children()):
            self._children += 1
            if self._children > MAX_CHILDREN:
                raise ValueError(f"a batch has at most {MAX_CHILDREN:,} children, with those of the batches in it")
            total = at + 1
            if isinstance(child, JobRequest):
                jobs += 1
                yield replace(self._prepared(child, f"child {at}"), batch=id_, position=at)
            elif isinstance(child, BatchRequest):
                # Those that are over, those that hold this one below the outermost, and this one.
                if len(self._rows) + depth > MAX_BATCHES:
                    raise ValueError(f"a batch holds at most {MAX_BATCHES:,} batches")
                yield from self._jobs(child, self._new_id("batch"), id_, at, depth + 1)
            else:
                raise _no_child(at, child)
        row = batches.new_row(
            id_,
            owner=self._owner,
            parent=parent,
            position=position,
            job=self._job,
            total=total,
            jobs=jobs,
            stops=int(request.stop),
            on_success=on_success,
            on_failure=on_failure,
        )
        self._rows.append(row)

    def _follower(
        self, request: JobRequest | None, name: str, batch: str | None = None, position: int | None = None
    ) -> str | None:
        """Return the job that follows a batch, as JSON; in a batch it has the place of the batch that it follows."""
        if request is None:
            return None
        new = replace(self._prepared(request, name), id=None, run_at=None, batch=batch, position=position)
        return orjson.dumps(dispatched.encoded(new)).decode()

    def _prepared(self, request: JobRequest, place: str) -> NewJob:
        try:
            new = self._prepare(request)
        except InvalidParameters as error:
            errors = [(".".join(filter(None, (f"batch, {place}", path))), words) for path, words in error.errors]
            raise InvalidParameters(errors) from error
        if new.unique is not None:  # the job that is there already may belong to another batch, or to none
            words = f"{new.handler} has unique jobs, which no batch can hold: take a handler without `unique` for them"
            raise InvalidParameters([(f"batch, {place}", words)])
        return new

    @property
    def is_long(self) -> bool:
        """Return whether some of its jobs are accepted after the batch."""
        return bool(self._staged or self.pending)

    @property
    def shape(self) -> dict[str, Any]:
        """Return what tells the batch from another one of the same jobs."""
        return {"batches": [(row["total"], row["position"], row["stops"]) for row in self._rows]}

    def take(self) -> list[tuple[str, str]]:
        """Return chunks for one commit, to be passed to `dispatched.stage`."""
        chunks, self.pending = self.pending[:STAGE], self.pending[STAGE:]
        self._staged += len(chunks)
        return chunks

    def accept(self, tx: Tx, insert: Insert) -> list[Job]:
        """Accept the batch, whose chunks are staged, with its first jobs, and return them.

        An empty list if it was accepted before. Raises StagingLost.
        """
        accepted = batches.insert(tx, self._rows, self._first, insert)
        if self._staged and accepted and dispatched.publish(tx, self.id) != self._staged:
            raise StagingLost(f"the batch {self.id} took longer than a day to make; make it of several")
        return accepted


def _no_child(at: int, child: object) -> TypeError:
    got = type(child).__name__
    return TypeError(f"batch: child {at} must be a job, as made by HANDLER.job(...), or a batch (got {got})")
