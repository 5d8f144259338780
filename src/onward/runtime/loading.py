"""Loads the modules that the settings name, and says how to fix one that cannot be imported."""

from __future__ import annotations

import filecmp
import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from traceback import walk_tb
from typing import Any

from onward.config import extras
from onward.config.settings import SettingsError
from onward.runtime import former_names
from onward.text.errors import text_of

MISSING = "correct the name, or put the module into the folder of settings.toml"


def load(module: str, key: str) -> Any:
    """Import a module that `key` of the settings names.

    Raises SettingsError, which tells a missing module from a missing dependency of it.
    """
    former_names.install()
    top = module.partition(".")[0]
    if hidden(top) and not _is_copied(module):
        words = f"{top!r} in {hidden(top)} is hidden by {found_in(top)[0]}, which comes first"
        raise SettingsError(f"{key}: {words}: give yours another name, or put it into a package")
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise SettingsError(f"{key}: there is no module {module!r} on the import path: {MISSING}") from error
        extra = extras.of_module(error.name or "")
        top = (error.name or "").partition(".")[0]
        fix = ": pip install " + (f'"onward[{extra}]"' if extra else f"{top}, or the package that holds it")
        raise SettingsError(f"{key}: {module} needs {error.name!r}, which is not installed{fix}") from error
    except SystemExit as error:
        words = "it ends the process (sys.exit) as it is imported; do that in a function"
        raise SettingsError(f"{key}: {module} cannot be imported: {_line(error, module)}{words}") from error
    except Exception as error:
        words = f"{_line(error, module)}{type(error).__name__}: {text_of(error)}{_hint(error)}"
        raise SettingsError(f"{key}: {module} cannot be imported: {words}") from error


def _line(error: BaseException, module: str) -> str:
    """Return the last line of the module that was executed; empty if none was."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_globals.get("__name__") == module]
    return f"line {lines[-1]}: " if lines else ""


def _hint(error: Exception) -> str:
    """Return the fix if another module of that name was imported; empty otherwise."""
    name = error.name if isinstance(error, ImportError) else getattr(getattr(error, "obj", None), "__name__", None)
    return f"; {hidden(name)} is hidden by that one: put yours into a package" if name and hidden(name) else ""


def found_in(module: str) -> list[str]:
    """Return the possible files of a module, in the order of the import path; the first one is imported."""
    specs = (PathFinder.find_spec(module, [folder]) for folder in dict.fromkeys(map(os.path.realpath, sys.path)))
    return [spec.origin for spec in specs if spec is not None and spec.origin]


def hidden(module: str) -> str:
    """Return the file of that name that another one hides; empty if there is none."""
    return next(iter(found_in(module)[1:]), "")


def _is_copied(module: str) -> bool:
    """Return whether each place of the import path that has the module's package has the module, and the same package.

    So it is in an image whose application is installed beside its source.
    """
    top, *below = module.split(".")
    first, *others = map(Path, found_in(top))
    return _has(first, below) and all(_has(other, below) and _is_same(first, other) for other in others)


def _has(package: Path, below: list[str]) -> bool:
    """Return whether a package, by its file, has the module of the names below it."""
    return not below or PathFinder.find_spec(below[-1], [str(package.parent.joinpath(*below[:-1]))]) is not None


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two packages, by their files, are the same in all files of Python that both have."""
    pairs = [(one, other)]
    if one.name == other.name == "__init__.py":  # tests, for example, may not be installed
        beside = ((file, other.parent / file.relative_to(one.parent)) for file in one.parent.rglob("*.py"))
        pairs += [(file, its) for file, its in beside if its.is_file()]
    return all(filecmp.cmp(file, its, shallow=False) for file, its in pairs)
