"""`steps.process_item`: validate, analyse and store an item, each in a step.

All steps are async: each takes microseconds, and a thread would take longer.
"""

import hashlib
import re
from typing import TypedDict

from handlers.resources import Resources
from onward import JobContext, Permanent, sequence
from onward.handlers import types
from onward.text.normalization import nfc

# Unicode's control characters, but for tabs and line breaks.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Text(TypedDict):
    """The result of `validate`."""

    text: str


class Figures(TypedDict):
    """The result of the job."""

    characters: int
    words: int
    lines: int
    sha256: str


class Analysed(Text, Figures):
    """The result of `analyse`."""


async def validate(_job: JobContext, *, item: types.Text) -> Text:
    """Process a text by the job `steps.process_item`: validate, analyse, store.

    This step returns the text in NFC. Raises `Permanent` for control characters other than line breaks and tabs.
    """
    text = nfc(item)
    if not text:
        raise Permanent("The item is empty.", code="INVALID_ITEM")
    if (found := CONTROL.search(text)) is not None:
        raise Permanent(
            f"The item holds the control character U+{ord(found[0]):04X} at position {found.start() + 1}; "
            "only line breaks and tabs may be in it.",
            code="INVALID_ITEM",
        )
    return {"text": text}


async def analyse(_job: JobContext, value: Text) -> Analysed:
    """Add the figures of the text: code points, words between white space, lines, SHA-256 of its UTF-8."""
    text = value["text"]
    return {
        "text": text,
        "characters": len(text),
        "words": len(text.split()),
        "lines": len(text.splitlines()),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


async def store(job: JobContext[Resources], value: Analysed) -> Figures:
    """Store the item, once for the job, and return its figures."""
    await job.resources.items.put(job.id, **value)
    return {key: value[key] for key in ("characters", "words", "lines", "sha256")}  # type: ignore[return-value]


process_item = sequence("steps.process_item", [validate, analyse, store], mutation="processItem")
