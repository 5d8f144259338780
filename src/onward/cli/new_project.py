"""Writes a project into a new folder, from `templates/project/`: all of it or nothing."""

import keyword
import re
import sys
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from onward.cli import samples
from onward.config import extras
from onward.config.errors import SettingsError
from onward.runtime import loading

FOLDERS = frozenset({"build", "dist", "tests", "var", "wheels"})  # of a project, besides its package's
LENGTH = 50


def write(folder: Path) -> list[str]:
    """Write the project and return the lines to print. Raises SettingsError, and leaves nothing behind then."""
    name = folder.name
    package = _package(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder} exists already and is not empty: move it, or take another name")
    release = {"~=0.0.0": f"~={metadata.version('onward')}"}  # one that writes this project
    written = samples.files({"sample-project": name, "sample_project": package, **release})
    try:
        # Beside the folder, so that the rename stays on one file system.
        with TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as temporary:
            made = Path(temporary, name)
            for place, text in written.items():
                if "sample_task" not in place.name:  # these two are of `onward new handler`
                    (made / place).parent.mkdir(parents=True, exist_ok=True)
                    (made / place).write_text(text, "utf-8")
            made.rename(folder)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error.strerror}") from error
    return _next_steps(folder)


def _package(name: str) -> str:
    """Return the name of the project's package. Raises SettingsError if it cannot be one."""
    if not re.fullmatch(r"[a-z]([a-z0-9_-]*[a-z0-9])?", name) or len(name) > LENGTH:
        words = f"must be lowercase letters, digits, - and _, {LENGTH} at most, and begin with a letter, as in shop"
        raise SettingsError(f"a project's name {words} (got {name!r})")
    package = name.replace("-", "_")
    if keyword.iskeyword(package):
        raise SettingsError(f"{package} is a keyword of Python: take another name")
    if package in FOLDERS:
        raise SettingsError(f"{package} is the name of another folder in a project: take another name")
    if package in sys.stdlib_module_names or loading.found_in(package):
        raise SettingsError(f"there is a module {package} already, which would hide the project's: take another name")
    if any(True for _ in metadata.distributions(name=name)):
        raise SettingsError(f"there is an installed package {name} already: take another name")
    return package


def _next_steps(folder: Path) -> list[str]:
    lines = [f"cd {folder}", "pytest", "onward serve"]
    if not extras.is_installed("testing"):
        lines.insert(1, 'pip install "onward[testing]"')
    if Path("onward").is_file():  # the launcher of a clone
        lines = [f"./onward --project {folder} {command}" for command in ("test", "serve")]
    return [f"wrote {folder}; its README.md says how to go on:", *(f"  {line}" for line in lines)]
