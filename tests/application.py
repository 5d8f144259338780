"""The application of this repository as part of a test's project."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import strawberry

from onward.graphql.schema import build
from onward.handlers.base import Handler

ROOT = Path(__file__).resolve().parent.parent
MIGRATIONS = ROOT / "database" / "migrations"
MODULES = {
    "handlers": ("handlers.email", "handlers.logging", "handlers.steps"),
    "gql": ("gql.register_user",),
}
LIFESPAN = "handlers.resources:lifespan"


def write(folder: Path, text: str = "") -> Path:
    """Write a settings.toml of this text with the application's modules before those that the text names.

    Without a text, one that is there already stays as it is.
    """
    file = folder / "settings.toml"
    return file if not text and file.exists() else _written(file, text)


def _written(file: Path, text: str) -> Path:
    for table, modules in MODULES.items():
        names = ", ".join(f'"{name}"' for name in modules)
        further = rf"(?m)(^\[{table}\]\n(?:[^\[].*\n)*?modules = \[)"
        if re.search(further, text):
            text = re.sub(further, rf"\g<1>{names}, ", text)
        else:
            text = _with(text, table, f"modules = [{names}]")
    text = _with(text, "handlers", f'lifespan = "{LIFESPAN}"')
    file.write_text(_with(text, "database", f'migrations = "{MIGRATIONS}"'), "utf-8")
    return file


def _with(text: str, table: str, line: str) -> str:
    if re.search(rf"(?m)^\[{table}\]$", text):
        return re.sub(rf"(?m)^\[{table}\]$", f"[{table}]\n{line}".replace("\\", r"\\"), text)
    return f"{text.rstrip()}\n[{table}]\n{line}\n".lstrip()


def tables(further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings as tables, with the application's modules before the further ones."""
    found = {name: dict(table) if isinstance(table, Mapping) else table for name, table in (further or {}).items()}
    for table, modules in MODULES.items():
        own = found.setdefault(table, {})
        own["modules"] = [*modules, *own.get("modules", ())]
    found["handlers"].setdefault("lifespan", LIFESPAN)
    found.setdefault("database", {}).setdefault("migrations", str(MIGRATIONS))
    return found


def schema() -> strawberry.Schema:
    """Return the application's schema."""
    named = [import_module(name) for name in MODULES["handlers"]]
    handlers = {one.name: one for module in named for one in vars(module).values() if isinstance(one, Handler)}
    return build([import_module(name) for name in MODULES["gql"]], handlers=handlers)
