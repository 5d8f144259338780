"""Waits between the steps of a sequence: for a time, or for a signal with a typed payload."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from types import NoneType
from typing import Any

from pydantic import TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from onward.arguments import check_argument, check_names
from onward.handlers.context import JSON
from onward.handlers.errors import InvalidParameters
from onward.handlers.fields import has_fields
from onward.handlers.json_types import check_type, unknown
from onward.handlers.json_values import fault
from onward.handlers.parameters import STRICT, Parameters
from onward.handlers.typed_dicts import supported

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
LONGEST = timedelta(days=3650)
SLEEP = "sleep"
_NONE = object()


@dataclass(frozen=True, eq=False)  # hashed by its identity: a payload may be a dictionary
class Wait:
    """A wait between two functions of a sequence, made by `sleep` and `wait_for`.

    `time` is the longest time, None for no limit. A signal has the `type` and the checked `payload`; both are None for
    a sleep. `otherwise` holds the stored payload that stands in for a signal which does not come, or is empty.
    """

    name: str
    time: timedelta | None
    type: Any = None
    payload: Parameters | None = None
    roles: tuple[str, ...] = ()
    otherwise: tuple[JSON, ...] = ()

    @property
    def is_sleep(self) -> bool:
        return self.payload is None

    def bind(self, value: Any) -> JSON:
        """Check the payload, and convert it for JSON. Raises InvalidParameters, with paths that begin at `payload`."""
        if self.payload is None:
            raise InvalidParameters([("name", f"{self.name} waits for a time, and takes no signal")])
        bound: JSON = self.payload.bind({"payload": value})["payload"]
        if wrong := fault(bound, "payload", lambda _: False):
            raise InvalidParameters([wrong])
        return bound

    def from_form(self, fields: Mapping[str, str]) -> Any:
        """Return the payload of a form: its fields, or the field `payload`, whose texts become numbers and the like.

        Raises InvalidParameters for texts that are none of the type.
        """
        if self.type is NoneType:
            return None
        given: Any = fields if has_fields(self.type) else fields.get("payload", "")
        try:
            return TypeAdapter(supported(self.type)).validate_strings(given)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise InvalidParameters([(".".join(map(str, ("payload", *e["loc"]))), e["msg"]) for e in found]) from None

    def read(self, stored: JSON) -> Any:
        """Convert a stored payload to a value of the declared type. Raises InvalidParameters."""
        return stored if self.payload is None else self.payload.arguments({"payload": stored})["payload"]

    @cached_property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the payload; None for a sleep."""
        return None if self.payload is None else TypeAdapter(supported(self.type)).json_schema()


def sleep(time: timedelta, *, name: str = SLEEP) -> Wait:
    """Wait for a time between two functions of a `sequence`. The next one gets the result of the one before.

    The job is WAITING meanwhile, and holds no slot. `name` is the step's; a second sleep is named `sleep_2` by itself.
    """
    _check_name("sleep", name)
    check_argument("sleep: the time", time, "a timedelta, as in sleep(timedelta(hours=1))", timedelta)
    _check_time("sleep: the time", time)
    return Wait(name, time)


def wait_for(
    name: str,
    payload: Any = None,
    *,
    timeout: timedelta | None = None,
    otherwise: Any = _NONE,
    roles: Collection[str] = (),
) -> Wait:
    """Wait for a signal between two functions of a `sequence`. The next one gets the signal's payload.

    `payload` is its type: a dataclass, a pydantic model, or any other type that a parameter may have; None for a signal
    without a payload. Without a signal the job is FAILED with the code WAIT_TIMEOUT after the `timeout`, or goes on
    with the payload `otherwise`. Those who may see the job may send the signal; with `roles` only viewers with one of
    them, and admins. Raises TypeError and ValueError.
    """
    _check_name("wait_for", name)
    place = f"wait_for({name!r})"
    check_argument(f"{place}: timeout", timeout, "a timedelta, as in timedelta(days=3), or None", timedelta, NoneType)
    check_names(f"{place}: roles", roles, 'a list of names, as in roles=["staff"]', Collection)
    if timeout is not None:
        _check_time(f"{place}: timeout", timeout)
    elif otherwise is not _NONE:
        raise ValueError(f"{place}: otherwise is the payload after the timeout: give a timeout, too")
    type_ = NoneType if payload is None else payload
    made = Wait(name, timeout, type_, _parameters(place, type_), tuple(roles))
    return made if otherwise is _NONE else _with(made, place, otherwise)


def _parameters(place: str, type_: Any) -> Parameters:
    """Make the check of a payload: a single parameter of that type. Raises TypeError."""
    check_type(type_, f"{place}: its payload")
    try:
        return Parameters(create_model("signal", __config__=STRICT, payload=(supported(type_), ...)))
    except (PydanticSchemaGenerationError, PydanticUserError, NameError, RecursionError) as error:
        raise TypeError(f"{place}: its payload {unknown(error)}") from error


def _with(made: Wait, place: str, otherwise: Any) -> Wait:
    try:
        stored = made.bind(otherwise)
    except InvalidParameters as error:
        raise TypeError(f"{place}: otherwise is not of the payload's type: {error}") from error
    return replace(made, otherwise=(stored,))


def _check_name(place: str, name: object) -> None:
    check_argument(f"{place}: the name", name, 'a string, as in wait_for("approval", Approval)', str)
    if not NAME.fullmatch(str(name)):
        raise ValueError(f"{place}: the name must be letters, digits and underscores, 64 at most (got {name!r})")


def _check_time(place: str, time: timedelta) -> None:
    if not timedelta(0) < time <= LONGEST:
        raise ValueError(f"{place} must be more than 0 and at most {LONGEST.days:,} days (got {time})")
