"""Parameters of a handler: a model made from its signature, and their conversion to JSON and back."""

import inspect
import json
import typing
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python

from onward.handlers.classes import alternatives, confused
from onward.handlers.context import JSON
from onward.handlers.equality import is_same
from onward.handlers.errors import InvalidParameters
from onward.handlers.json_types import check_type, unknown
from onward.handlers.json_values import fault
from onward.handlers.results import Results, ResultsParameter
from onward.handlers.signatures import signature_of
from onward.handlers.typed_dicts import supported

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
Upgrade = Callable[[int, dict[str, Any]], dict[str, Any]]
PLAIN = frozenset({"str", "int", "float", "bool", "bytes", "list", "dict", "tuple", "set"})  # no type of a job
PLAIN_TYPES = frozenset({str, int, bool, type(None)})
STRICT = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


def name_of(function: Callable[..., Any]) -> str:
    """Return the function's own name. Raises TypeError if it has none, or cannot be a step."""
    name = getattr(function, "__name__", "")
    if not inspect.isfunction(function) or not name.isidentifier():
        raise TypeError(f"{function!r} is no named function: a step is written with `def` or `async def`")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is a generator: a step is an async or a plain function that returns its result")
    return name


def model_of(function: Callable[..., Any]) -> type[BaseModel]:
    """Make a model with a field for each keyword-only parameter. Raises TypeError for any other signature."""
    name = name_of(function)
    taken = list(signature_of(function).parameters.values())
    if not taken or taken[0].kind not in POSITIONAL:
        raise TypeError(f"{name} must take the job first, as in `def {name}(job, *, ...)`")
    if getattr(taken[0].annotation, "__name__", str(taken[0].annotation)) in PLAIN:
        raise TypeError(
            f"{name} takes {taken[0]} where the job comes: write `def {name}(job: JobContext, *, {taken[0]})`"
        )
    if taken[0].name in ("self", "cls"):
        raise TypeError(f"{name} is a method: write a function of the module, or put @staticmethod above @handler")
    rest = taken[1:] if results_of(function) is None else taken[2:]
    for parameter in rest:
        _check(name, parameter)
    types = {one: supported(type_) for one, type_ in _types(function, {p.name: p.annotation for p in rest}).items()}
    for one, type_ in types.items():
        check_type(type_, f"{name}: {one}")
    fields: dict[str, Any] = {p.name: (types[p.name], ... if p.default is p.empty else p.default) for p in rest}
    try:
        model = create_model(f"{name}_parameters", __config__=STRICT, __module__=function.__module__, **fields)
    except (PydanticSchemaGenerationError, PydanticUserError, NameError, RecursionError) as error:
        raise TypeError(f"{name}: a parameter {unknown(error)}") from error
    for one in fields:
        _check_default(name, one, model.model_fields.get(one))
    return model


def results_of(function: Callable[..., Any]) -> ResultsParameter | None:
    """Return the parameter behind the job if it takes the results of a batch. Raises TypeError."""
    second = list(signature_of(function).parameters.values())[1:2]
    if not second or second[0].kind not in POSITIONAL or "Results" not in str(second[0].annotation):
        return None
    name = second[0].name
    type_ = _types(function, {name: second[0].annotation})[name]
    if type_ is not Results and typing.get_origin(type_) is not Results:
        return None
    of = next(iter(typing.get_args(type_)), Any)
    if of is Any or of is object:
        return ResultsParameter(None)
    try:
        return ResultsParameter(_adapter(of))
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise TypeError(f"{function.__name__}: {name} {unknown(error)}") from error


def check_later(function: Callable[..., Any]) -> None:
    """Check that a step takes the job and the result of the step before. Raises TypeError for any other signature."""
    name = name_of(function)
    kinds = [parameter.kind for parameter in signature_of(function).parameters.values()]
    if [kind in POSITIONAL for kind in kinds] != [True, True]:
        raise TypeError(f"{name} must take the job and the result of the step before, as in `def {name}(job, value)`")


def to_json(params: Mapping[str, Any]) -> bytes:
    """Write the parameters as JSON. Raises ValueError for values that are not JSON: NaN, bytes, lone surrogates."""
    try:
        return _ENCODER.encode(params).encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds text that is no valid Unicode") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("holds a value that cannot be written as JSON") from error


def is_written(value: Any) -> bool:
    """Return whether a value that JSON does not know is written as one that it knows."""
    # Only these types: pydantic's own conversion would take bytes for text and exhaust generators.
    return isinstance(value, float | tuple | date | time | timedelta | Decimal | Enum | UUID | BaseModel) or (
        is_dataclass(value) and not isinstance(value, type)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=False, round_trip=True)
    if is_dataclass(value) and not isinstance(value, type):
        return _dumped(_adapter(type(value)), value)
    if is_written(value):
        return to_jsonable_python(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _whole(info: FieldInfo) -> Any:
    return Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation


@lru_cache(maxsize=1_000)
def _unions(model: type[BaseModel]) -> Mapping[str, Collection[type]]:
    """The parameters with unions of classes with fields, any of which a value might be read as."""
    found = {name: alternatives([info.annotation]) for name, info in model.model_fields.items()}
    return {name: declared for name, declared in found.items() if declared}


@lru_cache(maxsize=1_000)
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def _dumped(adapter: TypeAdapter[Any], value: Any) -> Any:
    return adapter.dump_python(value, mode="json", by_alias=False, round_trip=True, warnings=False)


# Made once: `json.dumps` makes one for each call with options.
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, default=_plain)


def _check(function: str, parameter: inspect.Parameter) -> None:
    name = parameter.name
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        words = "stands for any parameters: write each one by its name and type, or take a dict"
        raise TypeError(f"{function}: {parameter} {words}, as in `def {function}(job, *, {name}: dict[str, str])`")
    if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"{function}: {name} must be keyword-only, as in `def {function}(job, *, {name})`")
    if parameter.annotation is parameter.empty:
        raise TypeError(f"{function}: {name} needs a type, as in `{name}: str`")
    if name.startswith("_") or hasattr(BaseModel, name):
        raise TypeError(f"{function}: {name} is a name that pydantic reserves; choose another")


def _check_default(function: str, name: str, info: FieldInfo | None) -> None:
    """Refuse a default that a stored job could not be read with. Raises TypeError."""
    if info is None:
        raise TypeError(f"{function}: {name} is declared ClassVar, or as something else that no parameter is")
    if info.is_required() or info.default_factory is not None:
        return
    adapter = _adapter(_whole(info))
    try:
        written = json.dumps(_dumped(adapter, info.default), allow_nan=False)
        adapter.validate_json(written, strict=True, by_alias=True, by_name=True)
    except PydanticUserError:  # its class is defined further down in the module
        return
    except (ValueError, TypeError) as error:
        words = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "it is no JSON"
        fix = f"; declare {name}: {inspect.formatannotation(info.annotation)} | None" if info.default is None else ""
        raise TypeError(
            f"{function}: the default of {name}, {info.default!r}, is not of its type: {words}{fix}"
        ) from error


def _types(function: Callable[..., Any], annotations: dict[str, Any]) -> dict[str, Any]:
    # Only the parameters: the type of the job may be imported for type checkers only.
    try:
        return typing.get_type_hints(
            SimpleNamespace(__annotations__=annotations), inspect.unwrap(function).__globals__, include_extras=True
        )
    except NameError as error:
        raise TypeError(f"{function.__name__}: {error}; import the types of its parameters in its module") from error


class Parameters(NamedTuple):
    """The parameters of a handler. `secret` names those that are never logged or shown.

    `version` is theirs; `upgrade(version, params)` brings those of an older version up to date.
    """

    model: type[BaseModel]
    version: int = 1
    upgrade: Upgrade | None = None
    secret: frozenset[str] = frozenset()

    def bind(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check the parameters, complete them, and convert them for JSON. Raises `InvalidParameters`."""
        return self._checked(params).model_dump(mode="json", round_trip=True, warnings=False)

    def written(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check the parameters, and convert them for JSON as they are, not completed. Raises `InvalidParameters`."""
        return self._checked(params).model_dump(mode="json", round_trip=True, warnings=False, exclude_unset=True)

    def given(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `bind` does, without what is as the defaults have it. Raises `InvalidParameters`."""
        model = self._validate(params)
        # Without what is unset as well: of a `default_factory` no two values need be equal.
        dump = partial(model.model_dump, mode="json", round_trip=True, warnings=False, exclude_unset=True)
        found: dict[str, Any] = dump(exclude_defaults=True)
        for name, value in dump().items():
            field = self.model.model_fields[name]
            # With what a `default_factory` makes, pydantic has compared it already.
            if name not in found and not field.default_factory and not is_same(getattr(model, name), field.default):
                found[name] = value
        return found

    def arguments(self, params: Mapping[str, JSON]) -> dict[str, Any]:
        """Convert stored parameters to the arguments of the first step. Raises `InvalidParameters`."""
        model = self._validate(params)
        return {name: getattr(model, name) for name in self.model.model_fields}

    def accepts(self, name: str, value: Any) -> bool:
        """True if a value of JSON is one for the parameter of this name."""
        try:
            self._adapter(name).validate_json(json.dumps(value), strict=True, by_alias=True, by_name=True)
        except ValueError:
            return False
        return True

    def _checked(self, params: Mapping[str, Any]) -> BaseModel:
        model = self._validate(params)
        for name, declared in _unions(self.model).items():
            if words := confused(params.get(name), getattr(model, name), declared):
                raise InvalidParameters([(name, f"This is {words}.")])
        return model

    def _validate(self, params: Mapping[str, Any]) -> BaseModel:
        # Through JSON, so that a job is accepted exactly when what is stored of it can be read again.
        try:
            return self.model.model_validate_json(self._text(params), by_alias=True, by_name=True)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise InvalidParameters([(".".join(map(str, e["loc"])), e["msg"]) for e in found]) from None
        except ValueError:
            raise InvalidParameters(not_json(params)) from None

    def _text(self, params: Mapping[str, Any]) -> bytes:
        """Return the parameters in JSON; values of types such as Path and set as pydantic writes them.

        Raises ValueError.
        """
        if PLAIN_TYPES.issuperset(map(type, params.values())):
            with suppress(TypeError):  # text that is no valid Unicode, or a number beyond 64 bits
                return orjson.dumps(dict(params))  # the same value, in a third of the time
        try:
            return to_json(dict(params))
        except ValueError:
            return to_json({name: self._written(name, value) for name, value in params.items()})

    def _written(self, name: str, value: Any) -> Any:
        try:
            to_json({name: value})
        except ValueError:
            adapter = self._adapter(name)
            try:
                written = _dumped(adapter, adapter.validate_python(value, strict=True))
                found = adapter.validate_json(json.dumps(written), strict=True, by_alias=True, by_name=True)
            except (ValidationError, PydanticSerializationError):
                raise ValueError(f"{name} is not of its type") from None
            if found != value:  # bytes, or a set, for a parameter that takes any JSON
                raise ValueError(f"{name} is not read back as it was") from None
            return written
        return value

    def _adapter(self, name: str) -> TypeAdapter[Any]:
        info = self.model.model_fields.get(name)
        if info is None:
            raise ValueError(f"there is no parameter {name}")
        return _adapter(_whole(info))


def not_json(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Find the parameters that are not JSON, and the place in each. Slow, and only called for an error."""
    found = [fault(value, str(name), is_written) for name, value in params.items()]
    return [one for one in found if one is not None] or [("", "holds a value that cannot be written as JSON")]
