"""The check of a handler that gets a job of each failure of another one."""

from collections.abc import Iterable

from pydantic import BaseModel

FAILURE_FIELDS = ("job_id", "handler", "code", "message")
"""The parameters that such a handler may have; it gets those that it has. All are strings."""


def given_to(parameters: type[BaseModel], values: Iterable[str]) -> dict[str, str]:
    """Return the values of `FAILURE_FIELDS` for those parameters that the handler has."""
    return {name: value for name, value in zip(FAILURE_FIELDS, values, strict=True) if name in parameters.model_fields}


def check_notified(failing: str, name: str, parameters: type[BaseModel]) -> None:
    """Check that a handler needs no other parameters. Raises ValueError."""
    needed = [one for one, info in parameters.model_fields.items() if info.is_required() and one not in FAILURE_FIELDS]
    if needed:
        words = (
            f"{name} may have {', '.join(FAILURE_FIELDS)}, and others with a default: give one to {', '.join(needed)}"
        )
        raise ValueError(f"{failing}: on_failure: {words}")
