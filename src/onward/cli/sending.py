"""`onward jobs send`, a job whose parameters are options of the command line, and `onward jobs signal`."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from onward.cli.job_text import plain
from onward.cli.parameter_options import BadOption, parameters
from onward.config.settings import Settings
from onward.handlers.base import InvalidParameters, JobRequest
from onward.jobs.base import Conflict, KeyReused, NotFound, NotUnique
from onward.jobs.options import Options, check_text
from onward.runtime.enqueuing import open_enqueuer

DONE, REFUSED, UNKNOWN = 0, 1, 3


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
    moment = None if run_at is None else _time(run_at)
    try:
        options = Options(owner, priority, moment)
        check_text("key", key)
    except ValueError as error:
        name, _, words = str(error).partition(" ")
        raise BadOption(f"--{name.replace('_', '-')} {words}") from error
    try:
        return asyncio.run(_send(settings, handler, given, whole=whole, options=options, key=key))
    except (InvalidParameters, KeyReused, NotUnique) as error:
        print(f"{handler}: {error}" if isinstance(error, InvalidParameters) else str(error), file=sys.stderr)
        return REFUSED


def signal(settings: Settings, job_id: str, name: str, payload: str | None) -> int:
    """Send a signal; return the exit code. Raises BadOption, SettingsError, StorageError."""
    value = None if payload is None else _json("--payload", payload, '{"approved": true}, or "text" with its quotes')

    async def send() -> None:
        async with open_enqueuer(settings) as enqueuer:
            await enqueuer.signal(job_id, name, value)

    try:
        asyncio.run(send())
    except (NotFound, Conflict, InvalidParameters) as error:
        print(f"{plain(job_id)}: {plain(str(error))}", file=sys.stderr)
        return UNKNOWN if isinstance(error, NotFound) else REFUSED
    print(f"{job_id} has the signal {name}")
    return DONE


async def _send(
    settings: Settings, name: str, given: Sequence[str], *, whole: str | None, options: Options, key: str | None
) -> int:
    async with open_enqueuer(settings) as enqueuer:
        handler = enqueuer.handlers.get(name)
        if handler is None:
            print(
                f"{name}: there is no such handler; known are {', '.join(sorted(enqueuer.handlers))}", file=sys.stderr
            )
            return UNKNOWN
        params = {**whole_parameters(whole), **parameters(handler, given)}
        print(await enqueuer.enqueue(JobRequest(name, params), options, key))
    return DONE


def whole_parameters(text: str | None) -> Mapping[str, Any]:
    """Return the parameters of the option --json. Raises BadOption."""
    if text is None:
        return {}
    found = _json("--json", text, '{"order": "A-17"}')
    if not isinstance(found, dict):
        raise BadOption('--json must be an object of parameters, as in {"order": "A-17"}')
    return found


def _json(option: str, text: str, example: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        place = f" before character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadOption(f"{option} must be JSON, as in {example}: it is wrong{place}") from error


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.astimezone()
    except (ValueError, OverflowError) as error:  # the latter where it is no time in this machine's zone
        raise BadOption(f"--run-at must be a time such as 2030-01-31T09:00:00+01:00 (got {text})") from error
