"""Viewers by a project's own function of the connection: its cookies, its headers, its users.

The function may do anything and fail in any way, so its time, its threads and its answers are bounded here. A caller
learns of a failure that there was one; the log says which.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, cast

from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection

from onward.api.base import ApiError, HttpError
from onward.api.rates import TooManyRequests
from onward.cancellation import is_cancelled
from onward.graphql.base import SIGN_IN, NotAuthenticated
from onward.graphql.execution.masking import MESSAGE
from onward.graphql.viewer import MAX_ROLES, MAX_SUBJECT_LENGTH, NOBODY, Viewer, ViewerFunction, WrongViewer
from onward.handlers.signatures import signature_of
from onward.jobs.step_threads import StepThreads
from onward.telemetry import logger
from onward.text.visibility import is_plain

MAX_ROLE_LENGTH = 255
MAX_THREADS = 32  # of plain functions at once, and as many again past their time limit
MAX_AWAITED = 256  # async functions at once
LOG_INTERVAL_S = 60.0  # between two lines about the same failure
REFUSALS = frozenset({401, 403})


class Unidentified(HttpError):
    """The function failed, or took too long: nobody knows who calls."""

    def __init__(self) -> None:
        super().__init__(503, "The server cannot find out who you are. Send it again in a while.", "UNAVAILABLE")


class InvalidViewer(HttpError):
    """The function made no viewer; the log says what it made."""

    def __init__(self) -> None:
        super().__init__(500, MESSAGE, "INTERNAL")


class NoThread(ApiError):
    """Every thread has a function that hangs."""


class CustomViewers:
    """Asks the project's function for the viewer of a connection, and checks what it returns.

    Async functions are awaited, plain ones run in threads of their own.
    """

    def __init__(self, function: ViewerFunction, *, timeout_s: float, recheck_s: float) -> None:
        self.recheck_s = recheck_s
        self._function = function
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object's own, which may be async
        )
        self._timeout_s = timeout_s
        self._calls: _Calls | None = None
        self._logged: dict[str, float] = {}

    async def __call__(self, connection: HTTPConnection, check: Callable[[], object] = lambda: None) -> Viewer:
        """Return the connection's viewer; nobody for None. Raises NotAuthenticated, Unidentified, InvalidViewer.

        `check` is called when it is the connection's turn, and may raise TooManyRequests.
        """
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                found = await self._ask(connection, check)
        except (NotAuthenticated, TooManyRequests):
            raise
        except (HTTPException, WebSocketException) as error:
            if isinstance(error, WebSocketException) or error.status_code in REFUSALS:
                raise NotAuthenticated(SIGN_IN) from None
            self._log("auth.viewer failed", error)
            raise Unidentified from None
        except WrongViewer as error:  # it fails likewise when it is called again, so nobody is told to
            self._log("auth.viewer made no viewer", error)
            raise InvalidViewer from None
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise  # not one of a task that the function waits for, and somebody else has cancelled
            if limit.expired() or isinstance(error, NoThread):
                self._log(f"auth.viewer did not answer within {self._timeout_s:g} s")
            else:
                self._log("auth.viewer failed", error)
            raise Unidentified from None
        if found is None:
            return NOBODY
        if wrong := reason_against(found):
            self._log(f"auth.viewer returned {wrong}")
            raise InvalidViewer
        return cast("Viewer", found)

    def close(self) -> None:
        """End the threads; those of functions that run are not waited for. May be called twice."""
        if self._calls is not None:
            self._calls.close()
            self._calls = None

    async def _ask(self, connection: HTTPConnection, check: Callable[[], object]) -> object:
        if self._calls is None or self._calls.loop is not asyncio.get_running_loop():
            self.close()
            self._calls = _Calls(MAX_AWAITED if self._is_async else MAX_THREADS)
        async with self._calls.free:
            check()
            if self._is_async:
                return await cast("Awaitable[object]", self._function(connection))
            found = await self._calls.run(partial(self._function, connection))
            return await found if inspect.isawaitable(found) else found

    def _log(self, words: str, error: BaseException | None = None) -> None:
        """Write a line, unless one about the same was written a while ago: each request would write one."""
        key, now = f"{words} {type(error).__name__}", time.monotonic()
        if now - self._logged.get(key, -LOG_INTERVAL_S) >= LOG_INTERVAL_S:
            self._logged[key] = now
            logger("auth").error(words, exc_info=error)


class _Calls:
    """The calls of one event loop, `at_once` of them: an application that is started twice has two loops."""

    def __init__(self, at_once: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.free = asyncio.Semaphore(at_once)
        self._threads = StepThreads(MAX_THREADS)

    async def run(self, function: Callable[[], object]) -> object:
        """Run the function in a thread. One that is cancelled, as at a time limit, keeps its thread until its end.

        Raises NoThread where no thread will become free but by the end of a function that hangs.
        """
        context = contextvars.copy_context()
        call = self._threads.submit(partial(context.run, _call, function), lambda _waited: None)
        if call.waits and self._threads.all_overrun:
            call.cancel()
            raise NoThread
        try:
            return await asyncio.shield(call.ended)
        except asyncio.CancelledError:
            call.cancel()
            self._threads.count_as_overrun(call)
            raise

    def close(self) -> None:
        with suppress(RuntimeError):  # the loop has closed, and nobody waits for what waited there
            self._threads.close()


def _call(function: Callable[[], object]) -> object:
    """Call the function. What ends a process or a generator becomes an error like any other: no future takes it."""
    try:
        return function()
    except (SystemExit, KeyboardInterrupt, StopIteration) as error:
        raise RuntimeError(f"it raised {type(error).__name__}") from error


def reason_against(found: object) -> str:
    """Return what is wrong about a function's answer, for the log; empty if it is a viewer that can be used."""
    if not isinstance(found, Viewer):
        return f"a {type(found).__name__}: return onward.Viewer(subject, roles), or None for nobody"
    until: object = found.until
    if until is not None and not isinstance(until, int | float):
        return f"a Viewer whose until is a {type(until).__name__}: give a datetime, or seconds as of time.time()"
    return _wrong_subject(found.subject) or _wrong_roles(found.roles)


def _wrong_subject(subject: object) -> str:
    if subject is None:
        return "a Viewer without a subject: return None for nobody"
    if subject == "":
        return "a Viewer with an empty subject: return None for nobody"
    if not isinstance(subject, str):
        return f"a Viewer whose subject is a {type(subject).__name__}: give a text, an integer or a UUID"
    if len(subject) > MAX_SUBJECT_LENGTH:
        return f"a Viewer whose subject is longer than {MAX_SUBJECT_LENGTH} characters"
    return "" if is_plain(subject) else "a Viewer whose subject has control characters"


def _wrong_roles(roles: tuple[object, ...]) -> str:
    if len(roles) > MAX_ROLES:
        return f"a Viewer with {len(roles)} roles: the most is {MAX_ROLES}"
    for role in roles:
        if not isinstance(role, str):
            return f"a Viewer with a role that is a {type(role).__name__}: give texts"
        if len(role) > MAX_ROLE_LENGTH:
            return f"a Viewer with a role longer than {MAX_ROLE_LENGTH} characters"
    return ""


def with_payload(connection: HTTPConnection, payload: Mapping[str, Any] | None) -> HTTPConnection:
    """The connection with `state.connection_init`: the payload of a WebSocket's connection_init, {} without one."""
    state = {**connection.scope.get("state", {}), "connection_init": payload or {}}
    return HTTPConnection({**connection.scope, "state": state})


def without_cookies(connection: HTTPConnection) -> HTTPConnection:
    """The connection as if the browser had sent no cookies.

    A middleware may have read them already, so `session`, `user`, `auth` and `state` are empty.
    """
    scope = {**connection.scope, "headers": [one for one in connection.scope["headers"] if one[0] != b"cookie"]}
    blank = {
        "state": dict[str, Any](),
        "session": dict[str, Any](),
        "user": UnauthenticatedUser(),
        "auth": AuthCredentials(),
    }
    return HTTPConnection({**scope, **{name: value for name, value in blank.items() if name in scope}})


def signature_fault(function: Callable[..., object]) -> str:
    """Return why the function cannot be called with a connection; empty if it can."""
    try:
        parameters = signature_of(function).parameters.values()
        signature_of(function).bind(object())
    except ValueError:  # one of C, without a signature
        return ""
    except TypeError:
        return "must take the connection as its one argument, as in `async def viewer(connection)`"
    if any(type(one.default).__name__ == "Depends" for one in parameters):
        return "must not use Depends, which FastAPI gives to routes alone: open what it needs in the function"
    return ""
