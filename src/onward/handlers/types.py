"""Types of texts that people type, for the parameters of handlers and for pydantic models."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from onward.text.normalization import nfc
from onward.text.visibility import has_invisible, is_plain

USERNAME_LENGTH = 64
DECOMPOSED = 4  # characters that make one in NFC, at most
EMAIL_LENGTH = 254
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


@lru_cache(maxsize=1_000)
def _email(value: str) -> str:
    # Kept for a while: an address is checked when its job is accepted, and again when the job runs.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - a worker seldom needs it

    if len(value) > EMAIL_LENGTH:
        raise wrong(f"An e-mail address has at most {EMAIL_LENGTH} characters.")
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError as error:
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
