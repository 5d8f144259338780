"""The recording of a job, from its mutation to its end. `.venv/bin/python -m tests.docs.recording` makes it again.

It is an animated WebP file, put together from the browser's still ones. The layout is that of Google's "WebP Container
Specification": RIFF with the chunks VP8X, ANIM, and an ANMF a frame.
"""

import asyncio
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests import application
from tests.docs.pictures import FOLDER, SCENE, browser
from tests.processes import running

FILE = "recording.webp"
WIDTH, HEIGHT = 960, 640
QUALITY = 55
EVERY_S = 0.2
LAST_MS = 3_000  # the end stays for a while before it begins again

ANIMATED = 0x02  # a flag of VP8X
OVERWRITE = 0x02  # a flag of ANMF: the frame is not blended with the one before
HEADER = 12  # bytes: RIFF, the length, WEBP
IMAGES = (b"VP8 ", b"VP8L")


@dataclass(frozen=True)
class Frame:
    """A still WebP file without transparency, and how long it is shown."""

    file: bytes
    milliseconds: int


def animated(frames: Sequence[Frame], *, width: int, height: int) -> bytes:
    """Return a WebP file that shows the frames, all of that size in pixels, over and over.

    A frame that is the same as the one before makes that one last longer. Raises ValueError for a file of another kind.
    """
    size = _three(width - 1) + _three(height - 1)
    body = b"WEBP" + _chunk(b"VP8X", bytes((ANIMATED, 0, 0, 0)) + size) + _chunk(b"ANIM", bytes(6))
    for frame in _merged(frames):
        head = bytes(6) + size + _three(frame.milliseconds) + bytes((OVERWRITE,))
        body += _chunk(b"ANMF", head + _image(frame.file))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _merged(frames: Sequence[Frame]) -> list[Frame]:
    merged: list[Frame] = []
    for frame in frames:
        if merged and merged[-1].file == frame.file:
            frame = Frame(frame.file, merged.pop().milliseconds + frame.milliseconds)  # noqa: PLW2901 - the longer one
        merged.append(frame)
    return merged


def _image(file: bytes) -> bytes:
    """Return the chunk with the picture of a still file."""
    at = HEADER
    while at < len(file):
        name, (length,) = file[at : at + 4], struct.unpack("<I", file[at + 4 : at + 8])
        if name in IMAGES:
            return _chunk(name, file[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    raise ValueError("no WebP file with a picture")


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _three(number: int) -> bytes:
    """Return a number in three bytes, the lowest first."""
    return struct.pack("<I", number)[:3]


async def record() -> bytes:
    """Return the recording of a job that is sent from the console, and followed there until it is done."""
    with tempfile.TemporaryDirectory() as project:
        shutil.copytree(SCENE, project, dirs_exist_ok=True)
        application.write(Path(project), (SCENE / "settings.toml").read_text("utf-8"))
        with running("serve", "--port", "0", project=Path(project)) as api:
            async with browser() as chrome:
                size = {"width": WIDTH, "height": HEIGHT}
                context = await chrome.new_context(viewport=size, color_scheme="light", locale="en-GB")  # type: ignore[arg-type]
                page = await context.new_page()
                await page.goto(f"{api.serving()}/#/send/drawReport")
                await expect(page.locator("#connection")).to_have_text("Live")
                await expect(page.get_by_label("month")).to_be_visible()
                camera = Camera(page)
                await camera.run_while(_send_and_follow(page))
    return animated(camera.frames, width=WIDTH, height=HEIGHT)


async def _send_and_follow(page: Page) -> None:
    month = page.get_by_label("month")
    await page.wait_for_timeout(600)
    await month.press_sequentially("November", delay=80)
    await page.wait_for_timeout(400)
    await page.get_by_role("button", name="Send").click()
    job = page.get_by_role("link", name="reports.draw")
    await expect(job).to_be_visible()
    await page.wait_for_timeout(1_000)
    await job.click()
    await expect(page.get_by_role("heading", name="reports.draw")).to_be_visible()
    await expect(page.locator("#job .head")).to_contain_text("Succeeded", timeout=30_000)
    await page.wait_for_timeout(600)


class Camera:
    """Takes a frame of a page every so often."""

    def __init__(self, page: Page) -> None:
        self.frames: list[Frame] = []
        self._page = page

    async def run_while(self, scene: Coroutine[Any, Any, None]) -> None:
        """Take frames until the scene is over."""
        playing = asyncio.ensure_future(scene)
        while not playing.done():
            began = time.monotonic()
            shot = await self._page.screenshot(type="webp", quality=QUALITY)
            await asyncio.wait({playing}, timeout=max(0.0, EVERY_S - (time.monotonic() - began)))
            self.frames.append(Frame(shot, round((time.monotonic() - began) * 1_000)))
        await playing
        self.frames.append(Frame(await self._page.screenshot(type="webp", quality=QUALITY), LAST_MS))


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / FILE).write_bytes(asyncio.run(record()))
