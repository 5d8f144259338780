"""A job for tests that call a step's function themselves: `await draft(FakeJob(), topic="tides")`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from onward.handlers.base import BatchRequest, JobRequest
from onward.jobs.results import chunk_json
from onward.jobs.running import unpacked
from onward.jobs.signal_urls import LASTS


@dataclass
class FakeJob:
    """A `JobContext` that writes nothing down but here: chunks in `emitted`, progress, and dispatched jobs."""

    id: str = "job_test"
    handler: str = "tests.job"
    owner: str | None = None
    attempt: int = 1
    tools: Any = None
    resources: Any = None
    results: dict[str, Any] = field(default_factory=dict)
    """The results of the steps that `result_of` finds, by their names."""
    emitted: list[Any] = field(default_factory=list)
    """The chunks of `emit`, in order."""
    reported: list[tuple[int, int | None, str | None]] = field(default_factory=list)
    """The arguments of `progress`, in order."""
    dispatched: list[JobRequest | BatchRequest] = field(default_factory=list)
    """The jobs and batches of `dispatch`, in order. Their parameters are not checked."""

    @property
    def idempotency_key(self) -> str:
        return self.id

    def progress(self, completed: int, total: int | None = None, message: str | None = None) -> None:
        self.reported.append((completed, total, message))

    def emit(self, chunk: Any) -> None:
        """Keep the chunk. Raises as that of a running job does for one that is no JSON, or too large."""
        chunk_json(chunk, ())
        self.emitted.append(chunk)

    def check(self) -> None:
        """Let the job go on."""

    def result_of(self, step: str) -> Any:
        if step not in self.results:
            raise ValueError(f"{self.handler}: no step {step!r} has finished; give FakeJob its result in `results`")
        return self.results[step]

    def signal_url(self, name: str, *, expires: timedelta = LASTS) -> str:  # noqa: ARG002 - a real one's argument
        return f"https://signals.invalid/{self.id}/{name}"

    def dispatch(self, request: str | JobRequest | BatchRequest, /, **given: Any) -> str:
        if not isinstance(request, BatchRequest):
            handler, values, *_ = unpacked(request, given)
            request = JobRequest(handler, dict(values))
        self.dispatched.append(request)
        return f"{self.id}_{len(self.dispatched)}"
