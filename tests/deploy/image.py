"""The steps of deploy/Dockerfile in folders of one's own, one a stage, as far as that goes without an engine."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tests.processes import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Step:
    """An instruction: its word, what follows it, and the stage that it belongs to."""

    word: str
    rest: str
    stage: str


def steps() -> Iterator[Step]:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    stage = ""
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.partition(" AS ")[2] or "last"
        yield Step(word, rest, stage)


def context() -> list[Path]:
    """The files that are sent to be built from: of the patterns, the last one that fits has it."""
    lines = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    present = {ROOT / line for line in tracked.splitlines() if (ROOT / line).is_file()}
    present |= {file for file in (ROOT / "web" / "static").rglob("*") if file.is_file()}  # what only lies about
    return [file for file in sorted(present) if not _ignored(file.relative_to(ROOT), patterns)]


def _ignored(file: Path, patterns: list[str]) -> bool:
    ignored = False
    places = [str(place) for place in (file, *file.parents)][:-1]
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        fits = any(fnmatch(place, bare) and place.count("/") == bare.count("/") for place in places)
        if bare.startswith("**/"):
            fits = bare.removeprefix("**/") in file.parts
        ignored = not pattern.startswith("!") if fits else ignored
    return ignored


def make(folder: Path, run: Callable[[Step, Path], None]) -> Path:
    """The last stage's root. `run` does a RUN in the working folder given, or does it otherwise."""
    files, working = context(), Path()
    for step in steps():
        root = folder / step.stage
        if step.word == "WORKDIR":
            working = root / step.rest.lstrip("/")
            working.mkdir(parents=True, exist_ok=True)
        elif step.word == "RUN":
            run(step, working)
        elif step.word == "COPY":
            _copy(step.rest, files, folder, root, working)
    return folder / "last"


def _copy(words: str, files: list[Path], folder: Path, root: Path, working: Path) -> None:
    found = re.match(r"(?:--from=(\S+) )?(.+) (\S+)$", words)
    assert found, words
    target = root / found[3].lstrip("/") if found[3].startswith("/") else working / found[3]
    if found[1]:
        shutil.copytree(folder / found[1] / found[2].lstrip("/"), target, symlinks=True, dirs_exist_ok=True)
        return
    for source in found[2].split():
        inside = [file for file in files if file == ROOT / source or ROOT / source in file.parents]
        assert inside, f"COPY {source}: nothing of it is sent to be built from"
        for file in inside:
            below = file.relative_to(ROOT / source) if file != ROOT / source else Path()
            whole = target if below != Path() or not found[3].endswith("/") else target / file.name
            (whole / below).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, whole / below)
