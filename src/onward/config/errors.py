"""One-line messages about wrong settings: the key, its source, and the allowed values."""

import difflib
import json
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

PREFIX = "ONWARD_"
TIMINGS = "ONWARD_TIMINGS"  # no setting: by it a process hands `onward.jobs.timings.Timings` to those that it starts
SHOWN_CHARACTERS = 60
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
SERVICE_LINK = re.compile(
    r"(?P<service>ONWARD\w*?)_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
_EXPECTED = types.MappingProxyType(
    {
        "bool_parsing": "true or false",
        "bool_type": "true or false",
        "dict_type": "a table",
        "finite_number": "a finite number",
        "float_parsing": "a number",
        "float_type": "a number",
        "greater_than": "more than {gt}",
        "greater_than_equal": "{ge} or more",
        "int_from_float": "a whole number",
        "int_parsing": "a whole number",
        "int_type": "a whole number",
        "less_than_equal": "{le} at most",
        "list_type": "a list",
        "mapping_type": "a table",
        "model_attributes_type": "a table",
        "model_type": "a table",
        "string_too_short": "longer",
        "string_type": "text",
        "tuple_type": "a list",
    }
)


class SettingsError(Exception):
    """The settings are wrong; the message is the one line to show."""


def one_of(names: Iterable[str]) -> str:
    """Join the names as a person would list them: "a", "b" or "c"."""
    *most, last = (f'"{name}"' for name in names)
    return f"{', '.join(most)} or {last}" if most else last


def nearest(name: str, known: Iterable[str], *, written: Callable[[str], str] = str) -> str:
    """Return a question that offers the known name most like this one, as it is `written`; empty if none is."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {written(found[0])}?" if found else ""


def _is_service_link(variable: str, environ: Mapping[str, str]) -> bool:
    """Return whether Kubernetes has set the variable, as in each pod beside a Service `onward` or `onward-...`."""
    found = SERVICE_LINK.fullmatch(variable)
    if found is None or f"{found['service']}_SERVICE_HOST" not in environ:
        return False
    # Beside a Service onward-server, ONWARD_SERVER_PORT is one if it is an address.
    return variable != f"{found['service']}_PORT" or "://" in environ[variable]


def misnamed_variable(model: type[BaseModel], environ: Mapping[str, str]) -> str | None:
    """Return the message about the first ONWARD_ variable that names no setting, or None."""
    paths = {"_".join(path): path for path in _paths(model)}
    for variable in sorted(environ):
        if not variable.upper().startswith(PREFIX) or variable == TIMINGS or _is_service_link(variable, environ):
            continue
        name = variable.upper().removeprefix(PREFIX).lower()
        path = paths.get(re.sub("_+", "_", name.strip("_")))
        written = f"{PREFIX}{'__'.join(path or ()).upper()}"
        if path and variable.upper() != written:
            return f"{variable} (environment) is not a setting; did you mean {written}?"
        if not _leads_somewhere(model, name.split("__")):
            offered = nearest(name, map("__".join, paths.values()), written=lambda found: f"{PREFIX}{found.upper()}")
            return f"{variable} (environment) is not a setting{offered}"
    return None


def _leads_somewhere(table: type[BaseModel], path: Iterable[str]) -> bool:
    """True if the first names of the path are settings; those of tables that hold names of the project's may be any."""
    for part in path:
        field = next((field for name, field in table.model_fields.items() if part == (field.alias or name)), None)
        if field is None:
            return "custom" in table.model_fields
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return True
        table = field.annotation
    return True


def _paths(table: type[BaseModel], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the place of each setting: the names of its tables, and its own."""
    for name, field in table.model_fields.items():
        path = (*before, field.alias or name)
        yield path
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _paths(field.annotation, path)


def unreadable_variable(model: type[BaseModel], environ: Mapping[str, str]) -> str | None:
    """Return the message about the first variable of a list or table that is not JSON, or None."""
    for variable in sorted(environ):
        if not variable.upper().startswith(PREFIX):
            continue
        _, field = _field(model, variable.upper().removeprefix(PREFIX).lower().split("__"))
        annotation = field.annotation if field else None
        if get_origin(annotation) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            try:
                json.loads(environ[variable])
            except ValueError:
                return f"{variable} (environment) must be JSON: {_meaning(field)}"
    return None


def describe(
    error: ValidationError,
    model: type[BaseModel],
    *,
    file: Path,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    given_by: str,
) -> str:
    """Describe the first error of a validation in one line, without the value of anything that may be secret.

    `given_by` names the place of the overrides.
    """
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"]]
    table, field = _field(model, where)
    key = ".".join(part for part in where if part != "custom")
    if first["type"] == "extra_forbidden":
        message = f"{key} is not a setting{_misplaced(where, model) or nearest(where[-1], _names(table))}"
    elif first["type"] == "value_error":
        message = f"{key} {first['ctx']['error']}".strip()
    elif first["type"] == "missing":
        message = f"{key} is missing: {_meaning(field)}"
    else:
        message = f"{key} must be {_allowed(first, field)} (got {_shown(field, first['input'])}): {_meaning(field)}"
    # A rule over several keys has no location: its message begins with the key.
    place = where or message.partition(" ")[0].split(".")
    return " ".join(f"{_source(place, file, environ, overrides, given_by)}: {message}".split())


def _misplaced(where: list[str], model: type[BaseModel]) -> str:
    """Return the hint for a top-level key inside a table; empty for other keys."""
    table, field = _field(model, where[-1:])
    if len(where) == 1 or field is None or table is not model or get_origin(field.annotation) is dict:
        return ""
    return f"; {where[-1]} stands above the first [table] of the file"


def _field(model: type[BaseModel], where: list[str]) -> tuple[type[BaseModel], FieldInfo | None]:
    """Return the innermost table and field at a place in the settings."""
    table, field = model, None
    for part in where:
        found = next((f for name, f in table.model_fields.items() if part in (name, f.alias)), None)
        if found is None:
            continue
        field = found
        inner = [t for t in (found.annotation, *get_args(found.annotation)) if isinstance(t, type)]
        table = next((t for t in inner if issubclass(t, BaseModel)), table)
    return table, field


def _names(table: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in table.model_fields.items()]


def _meaning(field: FieldInfo | None) -> str:
    return (field.description if field else None) or "it has to be there"


def _shown(field: FieldInfo | None, value: Any) -> str:
    """Return the value as JSON, cut short; "hidden" if it may hold a password."""
    if field is None or field.repr is False or _holds_secret(field.annotation):
        return "a value that is not shown"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _holds_secret(annotation: Any) -> bool:
    """Return whether a secret may be in a value of the type, as in a list of them."""
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _allowed(error: ErrorDetails, field: FieldInfo | None) -> str:
    """Return the allowed values of the key: both bounds if it has both."""
    if error["type"] == "literal_error":
        return str(error["ctx"]["expected"]).replace("'", '"')
    bounds = {type(one).__name__: one for one in (field.metadata if field else ())}
    if {"Ge", "Le"} <= bounds.keys() and error["type"] in {"greater_than_equal", "less_than_equal"}:
        return f"{_plain(bounds['Ge'].ge)} to {_plain(bounds['Le'].le)}"
    return _EXPECTED.get(error["type"], "valid").format(**error.get("ctx", {}))


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _source(
    where: list[str], file: Path, environ: Mapping[str, str], overrides: Mapping[str, Any], given_by: str
) -> str:
    """Return the place where the key was set: the overrides, a variable, or the file."""
    parts = [part for part in where if part != "custom"]
    given: Any = overrides
    for part in parts:
        given = given.get(part) if isinstance(given, Mapping) else None
    if given is not None:
        return given_by
    upper = {name.upper() for name in environ}
    variables = (PREFIX + "__".join(parts[:count]).upper() for count in range(len(parts), 0, -1))
    return next((f"{name} (environment)" for name in variables if name in upper), str(file))
