"""The rivals' work on an item: the same as `steps.process_item`, without keeping it."""

import hashlib
import unicodedata


def process(item: str) -> dict[str, object]:
    text = unicodedata.normalize("NFC", item)
    return {
        "characters": len(text),
        "words": len(text.split()),
        "lines": len(text.splitlines()),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
