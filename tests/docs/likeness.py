"""Compares a command's output with the one on a page; ids, times and machine names may differ."""

import json
import re
from collections.abc import Mapping
from typing import Any

ID = re.compile(r"\b(?:job|user)_[0-9a-f]{32}\b")
MASKS = (
    (ID, "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|\+00:00| UTC)?"), "TIME"),
    (re.compile(r"(?:\d\d-\d\d )?\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+\.\d\d s\b"), "SECONDS"),
    (re.compile(r"\b[\w.-]+:\d{2,7}\b"), "WORKER"),
    (re.compile(r"\b(SQLite|Redis) \d+(?:\.\d+)+"), r"\1 VERSION"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" ?\n"), "\n"),
)


class Ids:
    """Ids of the page, by the real ids that they stand for."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def learn(self, page: str, real: str) -> None:
        """Learn the ids of two similar texts, which correspond in order."""
        for written, given in zip(ID.findall(page), ID.findall(real), strict=True):
            assert self._real.setdefault(written, given) == given, f"{written} stands for two things"


def alike(page: str, real: str) -> bool:
    """Return whether the output matches the page."""
    if "event: next" in page:
        return _same_stream(_events(page), _events(real))
    if page.startswith("{"):
        return real.startswith("{") and [_masked(value) for value in objects(page)] == [
            _masked(value) for value in objects(real)
        ]
    return masked(page).strip() == masked(real).strip()


def masked(text: str) -> str:
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return text


def objects(text: str) -> list[Any]:
    """Return the JSON values of a text, one after another."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return masked(value) if isinstance(value, str) else value


def _events(text: str) -> list[Any]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def _same_stream(page: list[Any], real: list[Any]) -> bool:
    """Compare two streams, whose middle changes may be folded: first and last states are the same, versions apart."""
    versions = [_job(event).pop("version") for event in real]
    for event in page:
        _job(event).pop("version")
    return versions == sorted(set(versions)) and (page[0], page[-1]) == (real[0], real[-1])


def _job(event: Any) -> Any:
    return next(iter(event["data"].values()))
