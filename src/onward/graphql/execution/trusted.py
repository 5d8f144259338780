"""A folder of trusted documents, by the SHA-256 of their text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from onward.graphql.base import BadRequest, GqlError
from onward.graphql.execution.requests import PREFIX, Request

HASH = re.compile(r"[0-9a-f]{64}")


class BadDocument(GqlError):
    """A file of the folder holds no valid documents; the message begins with the file's name."""


class Trusted:
    """Finds the text of a request that names it by its hash; with `only`, it refuses every other text."""

    def __init__(self, texts: Iterable[str] = (), *, only: bool = False) -> None:
        # With and without the newline that editors leave at the end of a file: clients hash the text they send.
        self._texts = {digest(form): text for text in texts for form in (text, text.strip())}
        self._only = only

    def text(self, request: Request) -> str:
        """Return the text to execute. Raises BadRequest."""
        named, query = request.sha256, request.query
        if query is None:
            found = self._texts.get(named or "")
            if found is None:
                raise _unknown(any_there=bool(self._texts))
            return found
        if named is not None and digest(query) != named:
            raise BadRequest("The SHA-256 of the document does not match.")
        if not self._only:
            return query
        found = self._texts.get(digest(query)) or self._texts.get(digest(query.strip()))
        if found is None:
            raise BadRequest("This document is not one of the trusted documents.", "DOCUMENT_NOT_TRUSTED")
        return found


def read(folder: Path) -> dict[str, str]:
    """Read the documents of the folder, by their path. Raises BadDocument and OSError.

    Files end in .graphql or .gql; one that is named by a hash must have it. A .json file is what code generators
    write: an object of texts by their hash.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        try:
            if path.suffix in (".graphql", ".gql"):
                text = path.read_text("utf-8")
                if HASH.fullmatch(path.stem):
                    _check(name, path.stem, text)
                found[name] = text
            elif path.suffix == ".json":
                for hash_, text in json.loads(path.read_text("utf-8")).items():
                    _check(f"{name}: {hash_}", hash_, text)
                    found[f"{name}: {hash_}"] = text
        except (ValueError, AttributeError, TypeError):
            raise BadDocument(f"{name} is neither a document in UTF-8 nor a JSON object of documents by hash") from None
    return found


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check(name: str, hash_: str, text: str) -> None:
    if hash_.removeprefix(PREFIX) not in (digest(text), digest(text.strip())):
        raise BadDocument(f"{name} is not the SHA-256 of its text")


def _unknown(*, any_there: bool) -> BadRequest:
    # The words and codes that clients of Apollo's persisted queries know.
    if any_there:
        return BadRequest("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
    return BadRequest("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
