"""Loads the project's handlers, and builds their tools: mail, log, secrets, their own resources."""

from __future__ import annotations

import inspect
import shlex
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from onward.cancellation import cancels_as_errors
from onward.config.settings import Settings, SettingsError
from onward.handlers.base import Handler, Toolbox
from onward.handlers.journal import JsonLines
from onward.handlers.on_failure import check_notified
from onward.handlers.signatures import signature_of
from onward.jobs.encryption import Encryption, NoKey
from onward.mail.mailer import FileMailer
from onward.runtime.loading import load
from onward.storage.base import StorageError
from onward.storage.ledger import Ledger
from onward.telemetry import logger
from onward.text.errors import text_of

if TYPE_CHECKING:
    from onward.mail.smtp import SmtpMailer

KEY_HINT = (  # by this Python, wherever it is installed: another one may lack the package
    f"make one by: {shlex.quote(sys.executable)} -c"
    " 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)


def load_handlers(settings: Settings) -> dict[str, Handler]:
    """Return the handlers of the modules in the settings, by name. Raises SettingsError."""
    found: dict[str, Handler] = {}
    for name in settings.handlers.modules:
        handlers = _handlers_in(load(name, "handlers.modules"))
        if not handlers:
            raise SettingsError(
                f"handlers.modules: {name} has no handler; decorate a function with @handler, or remove the module"
            )
        for handler in handlers:
            if (earlier := found.setdefault(handler.name, handler)) is not handler:
                places = f"{_place(earlier)} and {_place(handler)}"
                raise SettingsError(
                    f"handlers.modules: {places} both define {handler.name!r}: give one of them another name"
                )
    for handler in found.values():
        _check_on_failure(handler, found)
    return found


def _check_on_failure(failing: Handler, handlers: Mapping[str, Handler]) -> None:
    """Check the handlers that hear of a failure, one after another. Raises SettingsError."""
    names = [failing.name]
    while (name := handlers[names[-1]].on_failure) is not None:
        words = f"handlers.modules: {names[-1]}: on_failure names {name!r}"
        if name in names:
            raise SettingsError(f"{words}, whose own failure comes back to it: leave one of these out")
        if name not in handlers:
            raise SettingsError(f"{words}, and no module here has it: add its module, or correct the name")
        try:
            check_notified(names[-1], name, handlers[name].parameters)
        except ValueError as error:
            raise SettingsError(f"handlers.modules: {error}") from error
        names.append(name)


def _handlers_in(module: ModuleType) -> list[Handler]:
    """Return the handlers among a module's names, each once, imported ones too."""
    listed = getattr(module, "HANDLERS", ())  # a list that an older release asked for
    listed = (listed,) if isinstance(listed, Handler) else tuple(listed)
    named = [value for value in vars(module).values() if isinstance(value, Handler)]
    for handler in listed:
        if not isinstance(handler, Handler):
            raise SettingsError(
                f"handlers.modules: HANDLERS of {module.__name__} holds {handler!r}, which is not a handler:"
                " decorate it with @handler"
            )
    return list(dict.fromkeys((*listed, *named)))


def _place(handler: Handler) -> str:
    """Return the module, the line and the name of the handler's first function."""
    function = inspect.unwrap(handler.steps[0].call)
    return f"{function.__module__}, line {function.__code__.co_firstlineno} ({function.__name__}),"


def build_encryption(settings: Settings, handlers: Mapping[str, Handler]) -> Encryption:
    """Return the encryption of the handlers' secret parameters. Raises SettingsError, also for a missing key."""
    try:
        encryption = Encryption([key.get_secret_value() for key in settings.secrets.keys])
    except ValueError as error:
        raise SettingsError(f"secrets.keys: each key must be 32 bytes in URL-safe base64; {KEY_HINT}") from error
    for handler in handlers.values():
        try:
            encryption.check(handler)
        except NoKey as error:
            raise SettingsError(f"secrets.keys: {error}; {KEY_HINT}") from error
    return encryption


def build_mailer(settings: Settings) -> FileMailer | SmtpMailer:
    """Return the mailer for messages of handlers. Raises SettingsError for an invalid sender."""
    email, smtp = settings.email, settings.email.smtp
    try:
        if email.transport == "file":
            return FileMailer(email.directory, email.sender)
        from onward.mail.smtp import SmtpMailer  # noqa: PLC0415 - not loaded where messages are files

        return SmtpMailer(
            sender=email.sender,
            host=smtp.host,
            port=smtp.port,
            tls=smtp.tls,
            username=smtp.username or None,
            password=smtp.password.get_secret_value() or None,
            timeout_s=smtp.timeout_s,
        )
    except ValueError as error:
        words = 'must be "Name <address>", or an address alone'
        raise SettingsError(f'email.sender: {words} (got "{email.sender}")') from error


def build_tools(settings: Settings) -> Toolbox:
    """Return the tools for handlers. Raises SettingsError."""
    return Toolbox(build_mailer(settings), build_log(settings))


def build_log(settings: Settings) -> JsonLines:
    return JsonLines(settings.log.path)


def load_lifespan(settings: Settings) -> Callable[..., Any] | None:
    """Return the function of the project's own lifespan; None without one. Raises SettingsError."""
    path = settings.handlers.lifespan
    if not path:
        return None
    module, _, attribute = path.partition(":")
    function = getattr(load(module, "handlers.lifespan"), attribute, None)
    if not callable(function):
        raise SettingsError(f"handlers.lifespan: {module} has no function {attribute}")
    return cast("Callable[..., Any]", function)


@asynccontextmanager
async def lifespan(settings: Settings, ledger: Ledger) -> AsyncIterator[Any]:
    """Enter the project's own lifespan and yield its resources; None without one.

    Raises SettingsError, also for an error that it raises at its start; one at its end is logged.
    """
    function, path = load_lifespan(settings), settings.handlers.lifespan
    if function is None:
        yield None
        return
    try:
        takes_ledger = bool(signature_of(function).parameters)
        manager = function(ledger) if takes_ledger else function()
        manager.__aenter__  # noqa: B018 - raises AttributeError where it is no context manager
    except (AttributeError, TypeError, ValueError) as error:
        raise SettingsError(
            f"handlers.lifespan: {path} must be a function with @asynccontextmanager that takes the ledger or nothing:"
            f" {error}"
        ) from error
    async with AsyncExitStack() as stack:

        async def leave(kind: Any, error: Any, trace: Any) -> bool:
            try:
                with cancels_as_errors():
                    await manager.__aexit__(kind, error, trace)
            except Exception as raised:  # noqa: BLE001 - code of the project's may raise anything
                if raised is not error:
                    logger("onward").exception("the lifespan of the handlers failed at its end", lifespan=path)
            return False  # a lifespan that suppresses errors must not hide why the process cannot start

        try:
            with cancels_as_errors():
                found = await manager.__aenter__()
        except (SettingsError, StorageError):
            raise
        except Exception as error:
            words = in_one_line(error, settings.project)
            raise SettingsError(f"handlers.lifespan: {path} failed at its start: {words}") from error
        stack.push_async_exit(leave)
        yield found


def in_one_line(error: Exception, project: Path) -> str:
    """Return the class and the text of an error, and the line in the project that raised it."""
    words = " ".join(text_of(error).split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if project in Path(frame.filename).parents]
    place = f" ({Path(frames[-1].filename).relative_to(project)}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{f': {words}' if words else ''}{place}"
