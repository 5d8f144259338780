"""The pages show pictures of the product as it is, and they can be taken again."""

import asyncio
import re
from pathlib import Path

import pytest

from onward.web import build
from tests.docs.pictures import FOLDER, MINUTES, PICTURES, take
from tests.docs.recording import FILE as RECORDING
from tests.docs.recording import record
from tests.processes import ROOT
from tests.system.web.conftest import built, chromium, missing

SHOWN = re.compile(r"images/([\w.-]+\.webp)")
KIB = 1024


def test_every_picture_is_used_and_every_used_one_exists() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in SHOWN.findall(page.read_text("utf-8"))}
    assert shown == {RECORDING, *(picture.file for picture in PICTURES)} == {file.name for file in FOLDER.iterdir()}


def test_no_picture_is_too_large() -> None:
    allowed = {RECORDING: 2_000 * KIB}
    assert [file.name for file in FOLDER.iterdir() if file.stat().st_size > allowed.get(file.name, 128 * KIB)] == []


@pytest.mark.long
def test_pictures_can_be_taken_again(tmp_path: Path) -> None:
    if chromium() is None:
        missing("needs Chromium: apt-get install chromium")
    built(build.CONSOLE)
    wanted = tuple(picture for picture in PICTURES if picture.scheme == "dark")
    asyncio.run(take(tmp_path, wanted, minutes=MINUTES // 12))
    assert {file.name for file in tmp_path.iterdir()} == {picture.file for picture in wanted}
    assert all(file.read_bytes()[8:12] == b"WEBP" for file in tmp_path.iterdir())


@pytest.mark.long
def test_the_recording_can_be_made_again() -> None:
    if chromium() is None:
        missing("needs Chromium: apt-get install chromium")
    built(build.CONSOLE)
    made = asyncio.run(record())
    assert (made[:4], made[8:16]) == (b"RIFF", b"WEBPVP8X")
    assert made.count(b"ANMF") > 5
    assert len(made) < 2_000 * KIB
