"""Ids and cursors: opaque to clients, and checked before they reach the ledger."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from onward.graphql.base import public_error

FORM = re.compile(r"([a-z]{1,32})_[0-9A-Za-z]{1,64}", re.ASCII)


def kind(id_: str) -> str | None:
    """Return the kind of object that the id names, such as "job"; None if it is not an id of this form."""
    match = FORM.fullmatch(id_)
    return match[1] if match else None


def is_job_id(id_: str) -> bool:
    return kind(id_) == "job"


def cursor(job_id: str) -> str:
    return urlsafe_b64encode(job_id.encode()).rstrip(b"=").decode()


def job_id_of(cursor_: str | None) -> str | None:
    """Return the id of the job at the cursor. Raises GraphQLError BAD_CURSOR."""
    if cursor_ is None:
        return None
    try:
        found = urlsafe_b64decode(cursor_ + "=" * (-len(cursor_) % 4)).decode()
    except ValueError:
        found = ""
    if not is_job_id(found) or cursor(found) != cursor_:
        raise public_error("This cursor is unknown; send one that this server has returned.", "BAD_CURSOR")
    return found
