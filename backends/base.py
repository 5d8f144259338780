"""The interface of a backend. `docs/adding-a-backend.md` walks through a third one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from onward.findings import Finding, State

Defer = Callable[..., None]
"""An offer to call a function once the response has left: `after_response(function, *arguments)`."""


class BackendError(Exception):
    """Base class for errors of this package, such as a failed delivery; maintenance delivers again."""


class Role(StrEnum):
    """The task of a process; for the jobs of a queue that it does not take, that in which it runs none."""

    ACCEPT = "accept"  # the API
    RUN = "run"  # a worker


@dataclass(frozen=True, slots=True)
class Delivery:
    """One job to deliver. The id is all that matters; the rest helps to sort."""

    job_id: str
    handler: str
    priority: int = 0
    fencing_token: int = field(default=0, compare=False)
    """Tells this wait of the job from a later one, when the delivery is confirmed."""
    local_runner: str | None = field(default=None, compare=False)
    """The runner that owns the job since its acceptance, as the backend said then."""
    resumes: bool = field(default=False, compare=False)
    """The job ran before, and goes ahead of jobs that have not begun."""


@dataclass(frozen=True, slots=True)
class Health:
    """A backend's health.

    `reason` says why it is of no use, without addresses, where that is known. `identity` changes when a broker forgets
    what it held; `depth` counts what it holds, None where it cannot tell.
    """

    reachable: bool
    identity: str = ""
    depth: int | None = None
    oldest_age_s: float | None = None
    reason: str = ""


class Run(Protocol):
    """Runs and claims jobs for a backend."""

    @property
    def runner_id(self) -> str:
        """The name under which this process claims jobs."""

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:
        """Run the job; return False if it could not be claimed. May be called twice. Raises nothing but Unavailable.

        Without `wait_for_commit`, its outcome may still be on its way into the ledger while the next job begins.
        """

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> Sequence[Callable[[], Awaitable[None]]]:
        """Claim up to `limit` jobs of this backend that wait in the ledger; each call that is returned runs one.

        Jobs in `exclude` are left, and so are jobs accepted for this process a moment ago: they are about to be
        delivered to it.
        """


class Backend(ABC):
    """Delivers jobs. Built as `Class(run, **options)`: the runner, and the options of its own table in the settings."""

    runs_elsewhere: ClassVar[bool]
    """Does another process run the jobs? Then maintenance delivers again whatever may be lost."""

    @classmethod
    def for_queue(cls, queue: str, options: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG003 - most have no place
        """Return the options of the instance for a queue of the project, so that its messages are apart from others.

        If they stay the same, the messages of all queues mix, and a worker has those delivered again that it gets of a
        queue that it does not take.
        """
        return options

    @abstractmethod
    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:
        """Bring each job to a `run`, in order. Raises BackendError unless all are sure to get there.

        Where jobs run in this process, those of one GraphQL request come together, all others one by one.
        """

    def local_runner(self) -> str | None:
        """The runner that owns a new job; None if any may claim it.

        It is `run.runner_id` where this process will run the job at once.
        """
        return None

    async def start(self, role: Role) -> None:  # noqa: B027 - most need nothing of the kind
        """Take deliveries from now on, and run jobs in a process of the right role.

        If it raises, the process does not start, and `drain` is not called.
        """

    def wake(self) -> None:  # noqa: B027 - those that run jobs elsewhere have messages
        """Look for jobs soon, by `run.claim`: another process may have put some into the ledger."""

    async def drain(self, deadline_s: float) -> None:  # noqa: B027 - likewise
        """Begin no further job; `deliver` is called all the same, until running jobs have ended.

        An error is logged, and at the deadline the process goes on without the backend.
        """

    async def health(self) -> Health:
        """Return whether the backend can be reached, within two seconds, also before the start. Never raises."""
        return Health(reachable=True)

    async def check(self, name: str) -> Sequence[Finding]:
        """Return findings for `onward check`, before the start; `name` is the backend's name in the settings."""
        return () if (await self.health()).reachable else (unreachable(name),)


def unreachable(name: str) -> Finding:
    """Return the finding of a backend that cannot be reached."""
    fix = f"start the service that it delivers to, or correct [backends.{name}]"
    return Finding(name, State.WARNING, "cannot be reached", f"{fix}; until then its jobs are accepted, and wait")
