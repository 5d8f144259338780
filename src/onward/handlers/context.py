"""The context of a handler: its job, and the tools that reach the outside world."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, overload
from uuid import UUID

from pydantic import JsonValue
from typing_extensions import TypeVar

from onward.handlers.batch import BatchRequest
from onward.handlers.request import JobRequest

Resources_co = TypeVar("Resources_co", covariant=True, default=Any)
JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
if not TYPE_CHECKING:  # the names in it are not those of the module that has it in an annotation
    JSON = JsonValue


class Mailer(Protocol):
    """Sends messages."""

    @property
    def sender(self) -> Address:
        """The sender of its messages."""

    async def send(self, message: EmailMessage) -> None:
        """Have the message accepted for delivery. May be called twice, since the same Message-ID shows a repetition.

        Raises `Permanent` if sending it again cannot help, another `HandlerError` if it may.
        """

    async def close(self) -> None:
        """Close all connections."""


class Log(Protocol):
    """A log of one entry a line."""

    def append(self, entry: Mapping[str, JSON]) -> None:
        """Write the entry to disk. Blocks, so call it in a thread; safe with many processes."""


class Tools(Protocol):
    """The tools with which handlers reach the outside world."""

    @property
    def mailer(self) -> Mailer: ...
    @property
    def log(self) -> Log: ...


class Toolbox(NamedTuple):
    """The tools of one process, built by the composition root."""

    mailer: Mailer
    log: Log


class JobContext(Protocol[Resources_co]):
    """The job, for its handler. `JobContext[R]` types `resources` as R, which the project's lifespan yields."""

    @property
    def id(self) -> str: ...
    @property
    def idempotency_key(self) -> str:
        """The same in each attempt: pass it to outside services, so that they act once."""

    @property
    def handler(self) -> str: ...
    @property
    def owner(self) -> str | None:
        """The subject of the viewer who sent it, or the `owner` that it was enqueued with; None if it has no owner."""

    @property
    def attempt(self) -> int:
        """The number of the attempt, from 1."""

    @property
    def tools(self) -> Tools: ...
    @property
    def resources(self) -> Resources_co:
        """The value that the context manager of `[handlers] lifespan` yielded in this process; None without one."""

    def progress(self, completed: int, total: int | None = None, message: str | None = None) -> None:
        """Show the progress to subscribers within about a tenth of a second. Cheap, and never blocks.

        Numbers below 0 are shown as 0.
        """

    def emit(self, chunk: JSON) -> None:
        """Add a chunk to the job's output: text, or any other JSON but None, of 32 kB at most.

        Subscribers of `jobOutput` get it within about a twentieth of a second. Cheap. The newest
        10,000 chunks of a job are kept, and 4 MB; of a step that has finished none of those is lost.

        Raises `Permanent` with code CHUNK_NOT_JSON or CHUNK_TOO_LARGE; as `check` does; `LeaseLost` after the job's
        end.
        """

    def check(self) -> None:
        """Return if the job may go on. Raises `JobCancelled`, `TimedOut` or `LeaseLost` if it may not."""

    def result_of(self, step: str) -> Any:
        """Return the JSON result of a step that has finished: `job.result_of("draft")`. Raises ValueError.

        A step gets the result of the one before it as its value; with this also those of earlier ones.
        """

    def signal_url(self, name: str, *, expires: timedelta = ...) -> str:
        """Return an address that sends this job the signal, for a mail or a webhook: `job.signal_url("approval")`.

        It is the right to do so until it `expires`, after seven days by default. Raises TypeError and ValueError, also
        where `signals.secret` has no key.
        """

    @overload
    def dispatch(self, handler: str, /, **params: JSON) -> str: ...
    @overload
    def dispatch(
        self,
        request: JobRequest | BatchRequest,
        /,
        *,
        owner: str | int | UUID | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        expires: timedelta | None = None,
    ) -> str: ...
    def dispatch(self, request: str | JobRequest | BatchRequest, /, **given: Any) -> str:
        """Commit a further job, or a batch, together with the end of this step, and return its id.

        `job.dispatch(bill.job(order="A-17"), run_at=..., expires=...)`, or by the handler's name:
        `job.dispatch("orders.bill", order="A-17")`. Its owner is that of this job, and its priority the handler's,
        unless others are given. The options of a batch are those of each of its children. There is no idempotency
        key, since a step ends once.

        Raises `InvalidParameters`; `LeaseLost` after the job's end, when nothing would be committed any more.
        """
