"""The repository names no path of a machine that it was written on."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tests.processes import ROOT

MACHINE_PATHS = re.compile(rb"/(?:home|Users|root|tmp)/[A-Za-z0-9._-]")
NOT_OURS = {".git", ".venv", ".hypothesis", "var", "node_modules", "__pycache__"}  # what .gitignore leaves out


def files() -> Iterator[Path]:
    for folder, inner, names in os.walk(ROOT):
        built = {"console", "explorer"} if Path(folder) == ROOT / "src" / "onward" / "web" / "static" else set()
        inner[:] = [name for name in inner if name not in NOT_OURS | built and not name.endswith("_cache")]
        yield from (Path(folder) / name for name in names)


def test_no_file_names_a_path_of_a_developer_s_machine() -> None:
    assert [str(file.relative_to(ROOT)) for file in files() if MACHINE_PATHS.search(file.read_bytes())] == []
