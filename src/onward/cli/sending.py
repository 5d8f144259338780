"""`onward jobs send`: a job whose parameters are options of the command line."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from onward.config.settings import Settings
from onward.handlers.base import Handler, InvalidParameters, JobRequest, UnknownHandler
from onward.jobs.base import KeyReused
from onward.runtime.enqueuing import Options, check_text, open_enqueuer

DONE, REFUSED, UNKNOWN = 0, 1, 3


class BadOption(Exception):
    """An option of the command line is wrong."""


def send(
    settings: Settings,
    handler: str,
    given: Sequence[str],
    *,
    whole: str | None,
    run_at: str | None,
    key: str | None,
    owner: str | None,
    priority: int | None,
) -> int:
    """Accept a job and print its id; return the exit code. Raises BadOption, SettingsError, StorageError."""
    moment = None if run_at is None else _moment(run_at)
    try:
        options = Options(owner, priority, moment)
        check_text("key", key)
    except ValueError as error:
        raise BadOption(f"--{error}") from error
    try:
        return asyncio.run(_send(settings, handler, given, whole=whole, options=options, key=key))
    except UnknownHandler as error:
        print(f"{error}", file=sys.stderr)
        return UNKNOWN
    except (InvalidParameters, KeyReused) as error:
        print(f"{handler}: {error}" if isinstance(error, InvalidParameters) else str(error), file=sys.stderr)
        return REFUSED


async def _send(
    settings: Settings, name: str, given: Sequence[str], *, whole: str | None, options: Options, key: str | None
) -> int:
    async with open_enqueuer(settings) as enqueuer:
        handler = enqueuer.handlers.get(name)
        if handler is None:
            raise UnknownHandler(name)
        params = {**_whole(whole), **parameters(handler, given)}
        print(await enqueuer.enqueue(JobRequest(name, params), options, key))
    return DONE


def parameters(handler: Handler, given: Sequence[str]) -> dict[str, Any]:
    """Turn `--name value`, `--name=value`, `--flag` and `--no-flag` into parameters. Raises BadOption.

    A value is text where the parameter is a string, or else JSON, or text if it is none; a repeated option is a list.
    """
    fields = handler.parameters.model_fields
    words = list(given)
    found: dict[str, list[Any]] = {}
    while words:
        option, equals, value = words.pop(0).partition("=")
        name = option.removeprefix("--").replace("-", "_")
        off = name.removeprefix("no_") if name not in fields else ""
        if not option.startswith("--") or not (name in fields or off in fields):
            known = ", ".join(_option(field) for field in fields) or "none"
            raise BadOption(f"{handler.name} has no parameter {option!r}: its options are {known}")
        is_flag = not equals and fields[off or name].annotation is bool
        if is_flag or off:
            found.setdefault(off or name, []).append(not off)
        elif not equals and not words:
            raise BadOption(f"{option} needs a value")
        else:
            found.setdefault(name, []).append(_value(fields[name], value if equals else words.pop(0)))
    return {
        name: one[0] if len(one) == 1 and not _is_list(fields[name], one[0]) else one for name, one in found.items()
    }


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _value(field: FieldInfo, text: str) -> Any:
    if field.annotation is str or (str in get_args(field.annotation) and get_origin(field.annotation) is not dict):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_list(field: FieldInfo, value: Any) -> bool:
    """Return whether one value of a list was given by itself."""
    annotation = str(field.annotation)
    return annotation.startswith(("list[", "set[", "tuple[")) and not isinstance(value, list)


def _whole(text: str | None) -> Mapping[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadOption(f"--json is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadOption('--json must be an object of parameters, as in {"order": "A-17"}')
    return found


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadOption(f"--run-at must be a time such as 2030-01-31T09:00:00+01:00 (got {text})") from error
    return found if found.tzinfo else found.astimezone()
