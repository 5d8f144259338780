"""The pages make a site, and no link in it is broken."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, environment

PAGES = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict"],
        cwd=folder,
        env=environment(NO_COLOR="1"),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """A broken link would be a warning."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    built = build(tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    made = {page: page.read_text("utf-8") for page in (tmp_path / "var" / "site").rglob("index.html")}
    assert len(made) == len(PAGES)
    assert [page.parent.name for page, text in made.items() if "```" in text] == [], "a block was not read as one"
    with (tmp_path / "docs" / "promise.md").open("a") as page:
        page.write("\n[nowhere](settings.md#nowhere)\n")
    assert build(tmp_path).returncode != 0


def test_every_page_but_decisions_is_in_the_menu() -> None:
    """Decisions are many, and found by links."""
    listed = _pages(tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"])
    wanted = sorted(page for page in PAGES if not page.startswith("decisions/"))
    assert sorted(listed) == wanted, "zensical.toml has the menu"


def _pages(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry
    return [page for part in inner for page in _pages(part)]
