"""The pages show pictures of the product as it is, and they can be taken again."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.docs.pictures import FOLDER, MINUTES, PICTURES, take
from tests.processes import ROOT
from tests.system.web.conftest import chromium, missing

SHOWN = re.compile(r"images/([\w.-]+\.webp)")
KIB = 1024


def test_every_picture_is_used_and_every_used_one_exists() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in SHOWN.findall(page.read_text("utf-8"))}
    assert shown == {picture.file for picture in PICTURES} == {file.name for file in FOLDER.iterdir()}


def test_no_picture_is_too_large() -> None:
    assert [file.name for file in FOLDER.iterdir() if file.stat().st_size > 128 * KIB] == []


@pytest.mark.long
def test_pictures_can_be_taken_again(tmp_path: Path) -> None:
    if chromium() is None:
        missing("needs Chromium: apt-get install chromium")
    wanted = tuple(picture for picture in PICTURES if picture.scheme == "dark")
    asyncio.run(take(tmp_path, wanted, minutes=MINUTES // 12))
    assert {file.name for file in tmp_path.iterdir()} == {picture.file for picture in wanted}
    assert all(file.read_bytes()[8:12] == b"WEBP" for file in tmp_path.iterdir())
