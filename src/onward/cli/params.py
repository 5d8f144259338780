"""The option `--param` of commands on jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from onward.cli.job_text import plain
from onward.jobs.param_filter import MAX_FILTERS, ParamFilter, Scalar, is_scalar, param_filter


def params_of(options: Sequence[str]) -> tuple[ParamFilter, ...]:
    """Return the filters of options such as `order=A-17`. Raises ValueError, whose message names the option."""
    if len(options) > MAX_FILTERS:
        raise ValueError(f"--param may be given {MAX_FILTERS} times at most (got {len(options)})")
    found = []
    for option in options:
        name, sign, text = option.partition("=")
        if not sign:
            raise ValueError(f"--param must be NAME=VALUE (got {plain(option[:80])})")
        try:
            found.append(param_filter(name, _values(text)))
        except ValueError as error:
            raise ValueError(f"--param {plain(option[:80])}: {error}") from None
    return tuple(found)


def _values(text: str) -> list[Scalar]:
    """Return the values that a text may mean: in quotes it is a text, and a number may be a text of digits, too."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    if not is_scalar(value):
        return [text]
    return [value] if isinstance(value, str) else [value, text]
