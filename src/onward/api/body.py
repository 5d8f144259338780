"""The body of a request, up to a size."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive

from onward.graphql.base import BadRequest

DIGITS = 12


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], most: int) -> bytes:
    """All of it. Raises BadRequest: 413 as soon as it is known to be too large, whatever its headers say."""
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.lower() != b"identity":
        raise BadRequest(415, "A body comes without a content encoding.", "UNSUPPORTED_MEDIA_TYPE")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise BadRequest(400, "Content-Length is no number.")
    if len(length) > DIGITS or int(length) > most:
        raise _too_large(most)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest(400, "The request ended before its body did.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(most: int) -> BadRequest:
    return BadRequest(413, f"A body has at most {most:,} bytes.", "TOO_LARGE")
