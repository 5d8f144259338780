"""Pages that are generated from the code: `.venv/bin/python -m tests.docs.reference` writes them anew."""

import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import graphql
import typer
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from onward.cli.main import program
from onward.config.settings import CustomBackend, Settings
from tests.docs import api
from tests.integration.telemetry.all_metrics import exposition
from tests.processes import ROOT

SETTINGS_HEAD = """# Settings

Every key of `settings.toml`, with its default. An empty file is valid.

- An environment variable wins over the file: `ONWARD_BACKEND`, or `ONWARD_DATABASE__URL`, with two underscores after a
  table's name. A list or a table is written in JSON: `ONWARD_SERVER__PROXIES='["10.0.0.0/8"]'`,
  `ONWARD_ROUTES='{"email.*": "dramatiq"}'`. A flag of the command line wins over both.
- Paths are relative to the folder of the file: the application's own, or the one that `--project` names.
- An unknown key or a bad value stops the start with one line, which names the key and the values that it accepts.
"""
COMMANDS_HEAD = """# Commands

`./onward --project DIR COMMAND` reads `DIR/settings.toml`, and modules from `DIR`; without `--project` it reads the
application's own folder. Where the [package is installed](installing.md) the same commands are
`onward serve` and so on, and without `--project` they read the current folder.
`./onward test` belongs to the launcher: without arguments it runs linters, type checks and the quick tests; with
`--slow` or `--long` also those that take longer; with other arguments it runs pytest alone, with these arguments.

`./onward --install-completion` teaches your shell to complete commands and options. `./onward --version` prints the
release.

Exit codes: 0 for success; 1 if something was refused or failed; 2 if the command cannot start; 3 if there is no such
job or handler.
"""
SCHEMA_HEAD = """# Schema

The schema at `/graphql`; your modules add to it. `./onward schema` prints it for tools. `Query`, `Mutation`
and `Subscription` come first, then the types that they use.
"""
METRICS_HEAD = """# Metrics

The metrics at `/metrics`, in Prometheus's text format. [Observability](observability.md) says where each process
serves them, and how to use them. A `status` is one of the
[states](architecture.md#states-and-the-moves-between-them) of a job; a `backend` is named with its
[queue](flows.md#workers), as in `dramatiq:gpu`, if it has one.

Metrics from `onward_ledger_up` on describe the whole installation, and only API processes have them; all others
describe one process since its start. On Linux each process also has `process_cpu_seconds_total`,
`process_resident_memory_bytes` and the other usual ones under `process_`.
"""


def settings_page() -> str:
    return "\n".join([SETTINGS_HEAD, *_tables("", Settings)])


def _tables(name: str, table: type[BaseModel]) -> Iterator[str]:
    """Return a heading and a table of keys, and the same for the inner tables."""
    fields = {field.alias or key: field for key, field in table.model_fields.items() if key != "project"}
    inner = {key: model for key, field in fields.items() if (model := _model(field)) is not None}
    keys = [_row(key, field) for key, field in fields.items() if key not in inner and not _is_map(field)]
    if keys and name:
        yield f"## [{name}]\n"
    if keys:
        yield "\n".join(["| key | value | default | |", "|---|---|---|---|", *keys, ""])
    for key, field in fields.items():
        path = f"{name}.{key}".lstrip(".")
        if key in inner:
            yield from _tables(path, inner[key])
        elif key == "custom":
            yield from _custom(name)
        elif (inside := _model_of_map(field)) is not None:
            yield from _tables(f"{path}.NAME", inside)
        elif _is_map(field):
            yield f"## [{path}]\n\nEach key is {field.description}.\n"


def _custom(name: str) -> Iterator[str]:
    rows = [_row(field.alias or key, field) for key, field in CustomBackend.model_fields.items() if key != "options"]
    yield f"## [{name}.NAME]\n\nA backend of your own. The class gets all other keys of the table unchanged.\n"
    yield "\n".join(["| key | value | default | |", "|---|---|---|---|", *rows, ""])


def _row(key: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    shown = "" if field.is_required() else "none" if default is None else f"`{_toml(default)}`"
    bounds = {name: getattr(one, name) for one in field.metadata for name in ("ge", "gt", "le") if hasattr(one, name)}
    above = f"more than {bounds['gt']:,}" if "gt" in bounds else ""
    words = ", ".join(filter(None, (above, _bounds(bounds.get("ge"), bounds.get("le")))))
    return f"| `{key}` | {_kind(field.annotation)} | {shown} | {field.description}{f' ({words})' if words else ''} |"


def _bounds(least: float | None, most: float | None) -> str:
    """Return the range of a number in words; empty where it has none."""
    if most is None:
        return "" if least is None else f"{least:,} or more"
    return f"{most:,} at most" if least is None else f"{least:,} to {most:,}"


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return "a list"
    words = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path", SecretStr: "a secret"}
    return words.get(annotation, "text")


def _toml(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return json.dumps(list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value)


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _model_of_map(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a map's values; None if they are no tables."""
    value = get_args(field.annotation)[1] if _is_map(field) else None
    return value if isinstance(value, type) and issubclass(value, BaseModel) else None


def _is_map(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Mapping


def commands_page() -> str:
    return "\n".join([COMMANDS_HEAD, *_commands("./onward", typer.main.get_command(program()))])


def _commands(name: str, command: Any) -> Iterator[str]:
    if getattr(command, "invoke_without_command", False):
        yield from _command(name, command)
    if hasattr(command, "commands"):
        for inner, found in command.commands.items():
            yield from _commands(f"{name} {inner}", found)
        return
    yield from _command(name, command)


def _command(name: str, command: Any) -> Iterator[str]:
    shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    arguments = " ".join(
        p.name.upper() if p.required else f"[{p.name.upper()}]" for p in shown if p.param_type_name == "argument"
    )
    yield f"## `{' '.join(filter(None, [name, arguments]))}`\n\n{' '.join(command.help.split())}\n"
    options = [_option(p) for p in shown if p.param_type_name == "option"]
    if options:
        yield "\n".join([*options, ""])


def _option(option: Any) -> str:
    """Return the line of an option: its name, its help, the values that it accepts, and its default."""
    facts = ["required"] if option.required else []
    if choices := option.type_descriptor.choices:
        facts.append(", ".join(f"`{choice.value}`" for choice in choices))
    elif words := _bounds(option.min, option.max):
        facts.append(words)
    if option.default is not None and not option.is_flag:
        facts.append(f"default `{getattr(option.default, 'value', option.default)}`")
    known = f" ({'; '.join(facts)})" if facts else ""
    return f"- `{option.opts[0]}`: {option.help}{known}"


def schema_page() -> str:
    schema = graphql.build_schema((ROOT / "gql" / "schema.graphql").read_text("utf-8"))
    roots = [kind for kind in (schema.query_type, schema.mutation_type, schema.subscription_type) if kind]
    others = [kind for name, kind in sorted(schema.type_map.items()) if not name.startswith("__") and kind not in roots]
    kinds = [*roots, *(kind for kind in others if not graphql.is_specified_scalar_type(kind))]
    return "\n".join([SCHEMA_HEAD, *(section for kind in kinds for section in _type(kind))])


def _type(kind: Any) -> Iterator[str]:
    """Return a heading, the type's description, and a table of its fields or values."""
    yield f"## {kind.name}\n"
    if kind.description:
        yield f"{' '.join(kind.description.split())}\n"
    rows: list[str] = []
    if graphql.is_enum_type(kind):
        rows = [f"| `{name}` | {_description(value)} |" for name, value in kind.values.items()]
        rows = ["| value | |", "|---|---|", *rows]
    elif hasattr(kind, "fields"):
        rows = [
            f"| `{name}{_arguments(field)}` | `{field.type}` | {_description(field)} |"
            for name, field in kind.fields.items()
        ]
        rows = ["| field | type | |", "|---|---|---|", *rows]
    if rows:
        yield "\n".join([*rows, ""])


def _arguments(field: Any) -> str:
    arguments = [f"{name}: {argument.type}" for name, argument in getattr(field, "args", {}).items()]
    return f"({', '.join(arguments)})" if arguments else ""


def _description(part: Any) -> str:
    return " ".join((part.description or "").split()).replace("|", "\\|")


def metrics_page() -> str:
    rows = []
    for family in text_string_to_metric_families(exposition()):
        if not family.name.startswith("onward_"):
            continue  # the system's
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        shown = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return "\n".join([METRICS_HEAD, "| metric | kind | labels | |", "|---|---|---|---|", *rows, ""])


PAGES = {
    "docs/settings.md": settings_page,
    "docs/commands.md": commands_page,
    "docs/metrics.md": metrics_page,
    "docs/schema.md": schema_page,
    "docs/api.md": api.page,
}

if __name__ == "__main__":
    for page, made in PAGES.items():
        (ROOT / page).write_text(made(), "utf-8")
