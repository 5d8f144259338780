"""Types of texts that people type, for the parameters of handlers and for pydantic models."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from onward.text.normalization import nfc
from onward.text.visibility import has_invisible, is_plain

USERNAME_LENGTH = 64
DECOMPOSED = 4  # characters that make one in NFC, at most
EMAIL_LENGTH = 254
_ORDINARY = re.compile(
    r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.ASCII
)
TEXT_LENGTH = 10_000


def wrong(message: str) -> PydanticCustomError:
    """Return the error of a validator whose message is shown as it is."""
    return PydanticCustomError("wrong", "{words}", {"words": message})


def _username(value: str) -> str:
    value = nfc(value) if len(value) <= DECOMPOSED * USERNAME_LENGTH else value
    if not 0 < len(value) <= USERNAME_LENGTH:
        raise wrong(f"A username has 1 to {USERNAME_LENGTH} characters.")
    if not is_plain(value) or has_invisible(value):
        raise wrong("A username must not contain control characters or invisible ones.")
    if value != value.strip():
        raise wrong("A username must not begin or end with a space.")
    return value


@cache
def _email_validator() -> tuple[Any, frozenset[str]]:
    """Return the library, and the top-level domains some of whose names it refuses."""
    import email_validator  # noqa: PLC0415 - a worker seldom needs it

    return email_validator, frozenset(name.rpartition(".")[2] for name in email_validator.SPECIAL_USE_DOMAIN_NAMES)


def _is_ordinary(value: str, special: frozenset[str]) -> bool:
    """Return whether the library would return this address as it is; False where only the library can tell.

    It takes a hundredth of the library's time, which is an eighth of what it costs to accept a job.
    """
    if _ORDINARY.fullmatch(value) is None or "--" in value:
        return False
    return value.rpartition(".")[2] not in special


def _email(value: str) -> str:
    library, special = _email_validator()
    if len(value) > EMAIL_LENGTH:
        raise wrong(f"An e-mail address has at most {EMAIL_LENGTH} characters.")
    if _is_ordinary(value, special):
        return value
    try:
        return str(library.validate_email(value, check_deliverability=False).normalized)
    except library.EmailNotValidError as error:
        raise wrong(f"This is not an e-mail address: {str(error).rstrip('.')}.") from error


def _filled(value: str) -> str:
    if len(value) > TEXT_LENGTH:
        raise wrong(f"At most {TEXT_LENGTH:,} characters.")
    if not value or value.isspace():
        raise wrong("This is empty.")
    return value


Username = Annotated[
    str,
    AfterValidator(_username),
    Field(description=f"1 to {USERNAME_LENGTH} characters, none of them invisible."),
]
Email = Annotated[str, AfterValidator(_email)]
Text = Annotated[str, AfterValidator(_filled), Field(description=f"The text, of 1 to {TEXT_LENGTH:,} characters.")]
