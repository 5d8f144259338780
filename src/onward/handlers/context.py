"""What a handler is given: the job that it runs, and the tools that reach the outside world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any, Protocol, TypeAlias

from typing_extensions import TypeVar

Resources_co = TypeVar("Resources_co", covariant=True, default=Any)
JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


class Mailer(Protocol):
    """Takes messages to where they are delivered from."""

    @property
    def sender(self) -> Address:
        """Whom its messages are from."""

    async def send(self, message: EmailMessage) -> None:
        """The message is accepted for delivery. May be called twice; its Message-ID tells the two apart from another.

        Raises `Permanent` where sending it again can never help, another `HandlerError` where it may.
        """

    async def close(self) -> None:
        """Nothing is held open any more."""


class Log(Protocol):
    """A journal of one entry a line."""

    def append(self, entry: Mapping[str, JSON]) -> None:
        """The entry is on disk. Blocks, so call it in a thread; safe with many processes."""


class Tools(Protocol):
    """All that reaches out of a handler."""

    @property
    def mailer(self) -> Mailer: ...
    @property
    def log(self) -> Log: ...


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one process, put together by the composition root."""

    mailer: Mailer
    log: Log


class JobContext(Protocol[Resources_co]):
    """The job, as its handler sees it. `JobContext[R]` types `resources` as R, which the project's lifespan yields."""

    @property
    def id(self) -> str: ...
    @property
    def idempotency_key(self) -> str:
        """The same in each attempt: hand it to outside services, so that they act once."""

    @property
    def handler(self) -> str: ...
    @property
    def attempt(self) -> int:
        """From 1 on."""

    @property
    def tools(self) -> Tools: ...
    @property
    def resources(self) -> Resources_co:
        """The value that the context manager of `[handlers] lifespan` yielded in this process; None without one."""

    def progress(self, completed: int, total: int | None = None, message: str | None = None) -> None:
        """Watchers see it within about a tenth of a second. Cheap, and never blocks."""

    def check(self) -> None:
        """The job may go on. Raises `JobCancelled`, `TimedOut` or `LeaseLost` where it may not."""

    def dispatch(self, handler: str, /, **params: JSON) -> str:
        """A further job is committed with this one's outcome; gives its id. Raises `InvalidParameters`."""
