"""Types for text that people type, checked by pydantic, and pydantic's errors as errors of a payload."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic_core import PydanticCustomError
from strawberry.utils.str_converters import to_camel_case

from onward.graphql.enqueue import MutationError
from onward.graphql.types.user_error import UserError
from onward.text.normalization import nfc
from onward.text.visibility import has_invisible, is_plain

Model = TypeVar("Model", bound=BaseModel)
USERNAME_LENGTH = 64
DECOMPOSED = 4  # characters that make one in NFC, at most
EMAIL_LENGTH = 254
TEXT_LENGTH = 10_000
REASON_LENGTH = 500


def wrong(message: str) -> PydanticCustomError:
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


def _email(value: str) -> str:
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


def _reason(value: str) -> str:
    if len(value) > REASON_LENGTH or not is_plain(value):
        raise wrong(f"A reason is one line of at most {REASON_LENGTH} characters.")
    return value


Username = Annotated[str, AfterValidator(_username)]
Email = Annotated[str, AfterValidator(_email)]
Text = Annotated[str, AfterValidator(_filled)]
Reason = Annotated[str, AfterValidator(_reason)]


def checked(model: type[Model], **values: Any) -> Model:
    """The model with these values. Raises MutationError, with one error for each field that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise MutationError(*(UserError.invalid(to_camel_case(str(e["loc"][0])), e["msg"]) for e in found)) from error
