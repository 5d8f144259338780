"""The interface of a backend. `docs/adding-a-backend.md` walks through a third one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol

Defer = Callable[..., None]
"""An offer to call a function once the response has left: `after_response(function, *arguments)`."""


class BackendError(Exception):
    """The root of what this room raises: a delivery that cannot be had right now, say. The sweep tries again."""


class Role(StrEnum):
    """What a process is for."""

    ACCEPT = "accept"  # the API
    RUN = "run"  # a worker


@dataclass(frozen=True, slots=True)
class Delivery:
    """One job to be brought to where it can run. The id is all that matters; the rest helps to sort."""

    job_id: str
    handler: str
    priority: int = 0
    fencing_token: int = field(
        default=0, compare=False
    )  # tells this wait of the job from a later one; for who confirms it
    local_runner: str | None = field(
        default=None, compare=False
    )  # whose it is since its acceptance, as the backend said then
    resumes: bool = field(default=False, compare=False)  # it ran before, and goes before what has not begun


@dataclass(frozen=True, slots=True)
class Health:
    """What a backend knows of itself.

    `identity` changes when a broker forgets what it held; `depth` counts what it holds, None where it cannot tell.
    """

    reachable: bool
    identity: str = ""
    depth: int | None = None
    oldest_age_s: float | None = None


class Run(Protocol):
    """The only way in to a job."""

    @property
    def runner_id(self) -> str:
        """The name under which this process claims jobs."""

    async def __call__(self, job_id: str, *, wait_for_commit: bool = True) -> bool:
        """The job has run here; False where it had not to. May be called twice. Raises nothing but Unavailable.

        Without `recorded`, its outcome may be on its way into the ledger still, while the next job begins.
        """

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> Sequence[Callable[[], Awaitable[None]]]:
        """Claims up to `limit` jobs of this backend that wait in the ledger; each call given runs one.

        Not those in `besides`, and not yet those that were accepted for this process a moment ago: it is about to be
        given them.
        """


class Backend(ABC):
    """Built as `Class(run, **options)`: the only way in to a job, and its own table in the settings."""

    runs_elsewhere: ClassVar[bool]
    """Does another process run the job? Then the sweep delivers again what may have got lost."""

    @abstractmethod
    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:
        """Every one of the jobs will reach a `run`, in order. Raises BackendError where that is not sure."""

    def local_runner(self) -> str | None:
        """Whose a job is from its acceptance on: `run.here` where it will be run in this process at once."""
        return None

    async def start(self, role: Role) -> None:  # noqa: B027 - most need nothing of the kind
        """The backend takes deliveries, and in a process of the right role runs jobs."""

    async def drain(self, deadline_s: float) -> None:  # noqa: B027 - likewise
        """No further job is begun here."""

    async def health(self) -> Health:
        """How it is, within two seconds, also where it has not started. Never raises."""
        return Health(reachable=True)
