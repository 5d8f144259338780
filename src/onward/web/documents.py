"""The GraphQL documents that the jobs page sends, for a server that answers no others."""

import re
from pathlib import Path

QUERIES = Path(__file__).resolve().parent / "static" / "jobs" / "queries.js"
CONSTANT = re.compile(r"^(export )?const (\w+) = ((?:'[^']*'|`[^`]*`|\s|\+)+);$", re.MULTILINE)
PART = re.compile(r"'([^']*)'|`([^`]*)`")
REFERENCE = re.compile(r"\$\{(\w+)\}")


def documents() -> tuple[str, ...]:
    """Return the documents exactly as the page's constants evaluate to in a browser."""
    known: dict[str, str] = {}
    sent = []
    for export, name, value in CONSTANT.findall(QUERIES.read_text("utf-8")):
        known[name] = "".join(
            plain or REFERENCE.sub(lambda match: known[match[1]], template) for plain, template in PART.findall(value)
        )
        if export:
            sent.append(known[name])
    return tuple(sent)
