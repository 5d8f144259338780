"""Types for text that people type, checked by pydantic, whose errors become errors of a payload."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError
from strawberry.utils.str_converters import to_camel_case

from onward.graphql.enqueue import MutationError
from onward.graphql.types.user_error import UserError
from onward.handlers.types import Email, Text, Username, wrong
from onward.text.visibility import is_plain

__all__ = ["Email", "Reason", "Text", "Username", "checked", "wrong"]

Model = TypeVar("Model", bound=BaseModel)
REASON_LENGTH = 500


def _reason(value: str) -> str:
    if len(value) > REASON_LENGTH or not is_plain(value):
        raise wrong(f"A reason must be one line of at most {REASON_LENGTH} characters.")
    return value


Reason = Annotated[str, AfterValidator(_reason)]


def checked(model: type[Model], **values: Any) -> Model:
    """Return the model with these values. Raises MutationError, with one error for each wrong field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise MutationError(*(UserError.invalid(to_camel_case(str(e["loc"][0])), e["msg"]) for e in found)) from error
