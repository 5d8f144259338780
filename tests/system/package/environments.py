"""Virtual environments with an installation, made in seconds: packages are linked, Onward is installed."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NOWHERE = "http://127.0.0.1:9"  # nobody listens there


@dataclass(frozen=True)
class Environment:
    """A virtual environment outside of the clone, whose programs reach neither npm nor the internet."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def variables(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment variables of a process in it."""
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "PIP_INDEX_URL")
        away = {**dict.fromkeys(names, NOWHERE), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "LANG") if name in os.environ}
        return {**kept, **away, "PATH": str(self.folder / "bin"), **(more or {})}

    def run(self, *command: str, project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment in that folder, and return its outcome."""
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=project,
            env=self.variables(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def make(folder: Path, wheel: Path, *extras: str) -> Environment:
    """Make an environment with the wheel and exactly the packages that it and these extras require."""
    made = empty(folder)
    with ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        wanted = message_from_bytes(files.read(name)).get_all("Requires-Dist") or []
    for distribution in _closure(wanted, extras):
        _link(distribution, made.packages)
    install(made, "--no-deps", "--no-index", str(wheel))
    return made


def empty(folder: Path) -> Environment:
    venv.create(folder, symlinks=True)
    return Environment(folder)


def install(environment: Environment, *what: str) -> None:
    """Install by this Python's own pip, with its configured indexes."""
    pip = [sys.executable, "-m", "pip", "--python", str(environment.python), "install", "-qq"]
    done = subprocess.run([*pip, *what], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _link(distribution: metadata.Distribution, packages: Path) -> None:
    """Link the packages and other files of a distribution; of a shared namespace, link its own part."""
    root = Path(str(distribution.locate_file(""))).resolve()
    entries: set[Path] = set()
    for file in map(Path, distribution.files or ()):
        if ".." not in file.parts and "__pycache__" not in file.parts:
            above = (place for place in reversed(file.parents) if (root / place / "__init__.py").is_file())
            entries.add(next(above, file))
    for entry in entries:
        (packages / entry).parent.mkdir(parents=True, exist_ok=True)
        (packages / entry).symlink_to(root / entry)


def _closure(wanted: list[str], extras: tuple[str, ...]) -> Iterator[metadata.Distribution]:
    """Return each distribution that the requirements lead to, once."""
    waiting = [(Requirement(text), extras) for text in wanted]
    seen: set[tuple[str, str]] = set()
    found: set[str] = set()
    while waiting:
        requirement, given = waiting.pop()
        if not any(_holds(requirement, extra) for extra in ("", *given)):
            continue
        name = canonicalize_name(requirement.name)
        distribution = metadata.distribution(name)
        if name not in found:
            found.add(name)
            yield distribution
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(Requirement(text), (extra,) if extra else ()) for text in distribution.requires or ()]


def _holds(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
