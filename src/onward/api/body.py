"""The body of a request, up to a limit."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive

from onward.api.base import HttpError

LENGTH_DIGITS = 12


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], most: int) -> bytes:
    """Read the whole body. Raises HttpError; 413 as soon as more than `most` bytes are announced or received."""
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.lower() != b"identity":
        raise HttpError(415, "A body must not have a content encoding.", "UNSUPPORTED_MEDIA_TYPE")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise HttpError(400, "Content-Length is not a number.")
    if len(length) > LENGTH_DIGITS or int(length) > most:
        raise _too_large(most)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HttpError(400, "The request ended before its body did.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(most: int) -> HttpError:
    return HttpError(413, f"A body must have at most {most:,} bytes.", "TOO_LARGE")
