"""The JSON Schema of the signal that a job waits for, as `onward jobs show` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from onward.config.settings import Settings, SettingsError
from onward.jobs.model import JobWait

VALUES = frozenset({"default", "const", "enum", "examples"})  # of a schema, which hold no schemas


class SignalSchema(NamedTuple):
    """The schema of the payload, or the reason why it is not known; neither for a sleep."""

    schema: Mapping[str, Any] | None = None
    problem: str | None = None


def signal_schema(settings: Settings, wait: JobWait) -> SignalSchema:
    """Load the handlers, and return the schema of the payload for which the job waits."""
    if wait.is_sleep:
        return SignalSchema()
    from onward.runtime.handlers import load_handlers  # only now: most looks at jobs load no handler

    try:
        handler = load_handlers(settings).get(wait.handler)
    except SettingsError as error:
        return SignalSchema(problem=f"the handler {wait.handler} cannot be loaded here: {error}")
    if handler is None:
        return SignalSchema(problem=f"the handler {wait.handler} is missing here: no module of handlers.modules has it")
    found = handler.wait(wait.name)
    if found is None:
        return SignalSchema(problem=f"the handler {wait.handler} {handler.no_signal(wait.name)}")
    return SignalSchema(schema=found.schema)


def short(schema: Any) -> Any:
    """Return the schema without the titles, which repeat names."""
    if isinstance(schema, list):
        return [short(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: value if key in VALUES else short(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
