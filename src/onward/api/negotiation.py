"""Content negotiation by the Accept header (RFC 9110, and GraphQL over HTTP)."""

from __future__ import annotations

from enum import StrEnum

from onward.api.base import HttpError


class Media(StrEnum):
    GRAPHQL = "application/graphql-response+json"
    JSON = "application/json"
    EVENTS = "text/event-stream"
    HTML = "text/html"


MAX_HEADER_BYTES = 1_000


def accepted(header: bytes | None) -> Media:
    """The best media type of those that the client accepts; JSON without a header. Raises HttpError 406."""
    if header is None or header in (b"*/*", b"application/json", b"application/json, */*"):
        return Media.JSON
    best, weight = None, 0.0
    for kind, quality in _ranges(header):
        media = _media(kind)
        # The first of equals wins, except that GraphQL's own type, with its status codes, goes before plain JSON.
        better = quality > weight or (quality == weight and media is Media.GRAPHQL and best is Media.JSON)
        if media is not None and quality > 0 and better:
            best, weight = media, quality
    if best is None:
        raise HttpError(
            406, f"The Accept header must allow {Media.GRAPHQL}, {Media.JSON} or {Media.EVENTS}.", "NOT_ACCEPTABLE"
        )
    return best


def names_json(header: bytes | None) -> bool:
    """True if the client names application/json itself, as older clients do."""
    return header is not None and any(kind == Media.JSON for kind, _ in _ranges(header))


def accepts_events(header: bytes | None) -> bool:
    """True if the client accepts event streams, with any preference above 0."""
    return header is not None and any(kind == Media.EVENTS and q > 0 for kind, q in _ranges(header))


def wants_page(header: bytes | None) -> bool:
    """True if the client is a browser that wants to show a page."""
    return header is not None and any(kind == Media.HTML and q > 0 for kind, q in _ranges(header))


def check_content(header: bytes | None) -> None:
    """Raise HttpError 415 unless the body is declared as JSON in UTF-8."""
    if header == b"application/json":
        return
    kind, *parameters = (header or b"").decode("latin-1").lower().split(";")
    charset = [
        value.strip().strip('"')
        for name, _, value in (p.partition("=") for p in parameters)
        if name.strip() == "charset"
    ]
    if kind.strip() != Media.JSON or any(value not in ("utf-8", "utf8") for value in charset):
        raise HttpError(415, "A request must be application/json in UTF-8.", "UNSUPPORTED_MEDIA_TYPE")


def _media(kind: str) -> Media | None:
    if kind in ("*/*", "application/*"):
        return Media.JSON
    return Media(kind) if kind in (Media.GRAPHQL, Media.JSON, Media.EVENTS) else None


def _ranges(header: bytes) -> list[tuple[str, float]]:
    found = []
    for part in header[:MAX_HEADER_BYTES].decode("latin-1").lower().split(","):
        kind, *parameters = part.split(";")
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = min(max(float(value), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        found.append((kind.strip(), quality))
    return found
