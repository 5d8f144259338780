"""Animated WebP files, put together from still ones.

The layout is that of Google's "WebP Container Specification": RIFF with the chunks VP8X, ANIM, and an ANMF a frame.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

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
