"""The files of `templates/project/`, with a project's or a handler's names in place of the sample's."""

import re
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "templates" / "project"
HIDDEN = ("gitignore", "dockerignore")  # without their dot they ignore nothing here
MADE = re.compile(r"(^|/)(\.|__pycache__/|var/)")  # by tools, and by pip, which compiles all that it installs


def files(names: Mapping[str, str]) -> dict[Path, str]:
    """Return the texts by their paths in the project; of two sample names, one that contains the other comes first."""
    return {
        Path(_renamed(_path(file), names)): _renamed(file.read_text("utf-8"), names)
        for file in sorted(PROJECT.rglob("*"))
        if file.is_file() and not MADE.search(file.relative_to(PROJECT).as_posix())
    }


def _path(file: Path) -> str:
    place = file.relative_to(PROJECT)
    return str(place.with_name(f".{place.name}") if place.name in HIDDEN else place)


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text)
