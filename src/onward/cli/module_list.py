"""Adds a module to a list `modules = [...]` in settings.toml."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def add(file: Path, table: str, module: str) -> bool:
    """Add the module to the table, and change nothing else; return False if the file's form does not allow it.

    Raises ValueError if the file is no TOML.
    """
    text = file.read_text("utf-8")
    before = tomllib.loads(text)
    there = before.get(table, {})
    wanted = {**before, table: {**there, "modules": [module, *there.get("modules", [])]}}
    for edited in _candidates(text, table, module, more=bool(there.get("modules"))):
        if _parsed(edited) == wanted:
            file.write_text(edited, "utf-8")
            return True
    return False


def _candidates(text: str, table: str, module: str, *, more: bool) -> Iterator[str]:
    """Yield possible edits: in the existing list, below the table's head, as a new table at the end."""
    head = rf"^\[{table}\][^\n]*\n"
    item = f'"{module}", ' if more else f'"{module}"'
    yield re.sub(rf"({head}(?:(?!\[)[^\n]*\n)*?modules *= *\[)", rf"\g<1>{item}", text, count=1, flags=re.MULTILINE)
    yield re.sub(rf"({head})", rf'\g<1>modules = ["{module}"]\n', text, count=1, flags=re.MULTILINE)
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    yield f'{text}{gap}[{table}]\nmodules = ["{module}"]\n'


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
