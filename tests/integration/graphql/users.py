"""A project's own users: a cookie names a session, and a table says whose it is, or how the look fails."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from starlette.requests import HTTPConnection

from onward import Viewer

COOKIE = "sid"


@dataclass
class Sessions:
    """The owner of each session: a viewer, any other value, an exception to raise, or a function to call."""

    owners: dict[str, Any] = field(default_factory=dict)
    questions: dict[str, int] = field(default_factory=dict)

    def open(self, owner: Any) -> dict[str, str]:
        """Return the header of a new session."""
        id_ = uuid.uuid4().hex
        self.owners[id_] = owner
        return {"cookie": f"{COOKIE}={id_}"}

    def change(self, header: dict[str, str], owner: Any) -> None:
        self.owners[header["cookie"].partition("=")[2]] = owner

    def asked(self, header: dict[str, str]) -> int:
        return self.questions.get(header["cookie"].partition("=")[2], 0)

    def of(self, connection: HTTPConnection) -> Any:
        id_ = connection.cookies.get(COOKIE) or connection.state.connection_init.get("session", "")
        self.questions[id_] = self.questions.get(id_, 0) + 1
        found = self.owners.get(id_)
        if isinstance(found, BaseException):
            raise found
        return found(connection) if callable(found) else found


SESSIONS = Sessions()


async def viewer(connection: HTTPConnection) -> Viewer | None:
    found: Any = SESSIONS.of(connection)
    viewer: Viewer | None = await found if asyncio.iscoroutine(found) else found
    return viewer


def plain_viewer(connection: HTTPConnection) -> Viewer | None:
    found: Viewer | None = SESSIONS.of(connection)
    return found


class Service:
    """A callable object, as people have them."""

    async def __call__(self, connection: HTTPConnection) -> Viewer | None:
        return await viewer(connection)


service = Service()


def delegate(connection: HTTPConnection) -> Any:
    """Return an awaitable, though it is a plain function."""
    return viewer(connection)


def after(event: Event, found: Viewer) -> Callable[[HTTPConnection], Viewer]:
    """A plain function's way to wait."""

    def wait(_connection: HTTPConnection) -> Viewer:
        event.wait(30)
        return found

    return wait


async def never(_connection: HTTPConnection) -> None:
    await asyncio.Event().wait()


not_a_function = 5


def without_an_argument() -> None: ...
