"""The declared result type of a handler, against which its results are checked."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NoReturn, TypeVar, Union

import typing_extensions
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import to_json

from onward.handlers.fields import all_members_of, has_fields
from onward.handlers.json_types import check_type, unknown
from onward.handlers.signatures import annotations_of
from onward.handlers.typed_dicts import supported

UNCHECKED = (type(None), Any, object, NoReturn, typing_extensions.Never)


@dataclass(frozen=True, slots=True)
class Output:
    """The result type of a handler: one or more `types` with fields, against which results are checked.

    It has none for any other annotation, by which results are written, and which they are not checked against.
    """

    types: tuple[type, ...]
    adapter: TypeAdapter[Any]

    @property
    def name(self) -> str:
        return " or ".join(type_.__name__ for type_ in self.types)

    def read(self, stored: Any) -> Any:
        """Turn a stored result into a value of the type. Raises ValidationError."""
        return self.adapter.validate_json(to_json(stored), strict=True, by_alias=True, by_name=True)

    def class_of(self, value: Any) -> type:
        """Return which of the types a value is of that was read: of a dict the first that reads it as it is."""
        if type(value) in self.types:
            return type(value)
        dicts = [type_ for type_ in self.types if typing_extensions.is_typeddict(type_)]
        if isinstance(value, dict) and dicts:
            return next((type_ for type_ in dicts[:-1] if _reads(type_, value)), dicts[-1])
        return next((type_ for type_ in self.types if isinstance(value, type_)), self.types[0])

    def restores(self, stored: Any, value: Any) -> bool:
        """True if the stored result is read as this value."""
        try:
            return bool(self.read(stored) == value)
        except ValidationError:
            return False

    def written(self, value: Any) -> Any:
        """Write the value as pydantic does. Raises ValueError if it is not of the type."""
        try:
            return self.adapter.dump_python(value, mode="json", by_alias=False, round_trip=True, warnings="error")
        except PydanticUserError as error:  # its annotation has a name that its module does not define
            raise ValueError(str(error)) from error

    def faults(self, stored: Any) -> list[tuple[str, str]]:
        """Find the places of a stored result that do not fit, and the reason for each."""
        try:
            if self.types:
                self.read(stored)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            return [(".".join(map(str, ("result", *one["loc"]))), one["msg"]) for one in found]
        return []


def _reads(type_: type, value: Any) -> bool:
    """True if a TypedDict reads the value as it is."""
    try:
        return bool(TypeAdapter(supported(type_)).validate_python(value) == value)
    except ValidationError:
        return False


def output_of(function: Callable[..., Any]) -> Output | None:
    """Return the result type of the return annotation; None if it says nothing, or cannot be resolved at run time.

    Raises TypeError for a type that JSON does not bring back.
    """
    function = inspect.unwrap(function)
    annotation = annotations_of(function).get("return")
    try:
        holder = SimpleNamespace(__annotations__={"return": annotation})
        found = typing.get_type_hints(holder, getattr(function, "__globals__", {}), include_extras=True)["return"]
    except (NameError, AttributeError, KeyError):
        return None  # imported for type checkers only, so a worker does not load it
    members = [one for one in all_members_of(found) if one is not type(None)]
    if not members or any(one in UNCHECKED or isinstance(one, TypeVar) for one in members):
        return None
    place = f"{function.__name__}: its result"
    check_type(found, place)
    has_types = all(has_fields(one) for one in members)
    try:
        checked: Any = tuple(supported(one) for one in members) if has_types else (supported(found),)
        adapter = TypeAdapter[Any](Union[checked])  # noqa: UP007 - of a tuple
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
        raise TypeError(f"{place} {unknown(error)}") from error
    return Output(tuple(members) if has_types else (), adapter)


def written_by(function: Callable[..., Any]) -> Output | None:
    """The annotation of a step before the last, by which its result is written and not checked. Raises TypeError."""
    output = output_of(function)
    return None if output is None else replace(output, types=())
