"""Filters by parameters: what one may hold, and what it matches."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from onward.cli.params import params_of
from onward.jobs import param_filter as limits
from onward.jobs.param_filter import param_filter


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("", [1]),
        (".", [1]),
        ("a..b", [1]),
        ("a.", [1]),
        ("a" * (limits.MAX_NAME + 1), [1]),
        (".".join("a" * (limits.MAX_DEPTH + 1)), [1]),
        ("\ud800", [1]),
        ("a", []),
        ("a", [1] * (limits.MAX_VALUES + 1)),
        ("a", ["x" * (limits.MAX_TEXT + 1)]),
        ("a", ["\udfff"]),
        ("a", [math.inf]),
        ("a", [math.nan]),
        ("a", [2**64]),
        ("a", [-(2**63) - 1]),
        ("a", [[1]]),
        ("a", [{"b": 1}]),
    ],
)
def test_what_no_parameter_can_equal_is_refused(name: str, values: list[Any]) -> None:
    with pytest.raises(ValueError, match="a parameter"):
        param_filter(name, values)


@pytest.mark.parametrize("value", ["", "\x00", '"', "\\", "é\U0001f600", 0, 1, -0.0, 1.5, 1e22, 2**64 - 1, True, None])
def test_the_stored_json_of_a_match_contains_one_of_the_texts(value: Any) -> None:
    """Compared by the database, they leave out no job that matches."""
    wanted = param_filter('a."\n', [value])
    stored = {"a": {"x": 1, '"\n': value}, "b": 2}
    assert wanted.matches("tests.any", stored)
    assert any(text in orjson.dumps(stored).decode() for text in wanted.texts)


def test_no_secret_is_matched() -> None:
    """Neither one that is encrypted, nor one of a job from before its handler kept it secret."""
    assert not param_filter("card", ["4711"], frozenset({"tests.pay"})).matches("tests.pay", {"card": "4711"})
    assert param_filter("card", ["4711"], frozenset({"tests.pay"})).matches("tests.other", {"card": "4711"})
    stored = {"card": {limits.ENCRYPTED: "token"}}
    assert not param_filter(f"card.{limits.ENCRYPTED}", ["token"]).matches("tests.pay", stored)


@pytest.mark.parametrize(
    ("option", "path", "values"),
    [
        ("order=A-17", ("order",), ("A-17",)),
        ("address.city=New York", ("address", "city"), ("New York",)),
        ("a=b=c", ("a",), ("b=c",)),
        ("n=5", ("n",), (5, "5")),
        ("n=05", ("n",), ("05",)),
        ("n=1e999", ("n",), ("1e999",)),
        ("n=NaN", ("n",), ("NaN",)),
        ("n=123456789012345678901234567890", ("n",), ("123456789012345678901234567890",)),
        ('n="5"', ("n",), ("5",)),
        ('n="5', ("n",), ('"5',)),
        ("n=[5]", ("n",), ("[5]",)),
        ("n=" + "[" * 10_00, ("n",), ("[" * 1_000,)),
        ("n=null", ("n",), (None, "null")),
        ("n=", ("n",), ("",)),
    ],
)
def test_an_option_says_what_a_text_may_mean(option: str, path: tuple[str, ...], values: tuple[Any, ...]) -> None:
    (found,) = params_of([option])
    assert (found.path, found.values) == (path, values)
    assert list(map(type, found.values)) == list(map(type, values))


@pytest.mark.parametrize("options", [["order"], ["=5"], ["a=" + "x" * 2_000], ["a\x1b[2J"], ["a=1"] * 6])
def test_an_option_that_cannot_be_used_is_named(options: list[str]) -> None:
    with pytest.raises(ValueError, match="--param") as refused:
        params_of(options)
    assert "\x1b" not in str(refused.value)


def test_what_is_wrong_with_an_option_is_said() -> None:
    with pytest.raises(ValueError, match=r"^--param must be NAME=VALUE \(got order\)$"):
        params_of(["order"])
    with pytest.raises(
        ValueError, match=r"^--param =5: a parameter's name must have .* \(got 0 characters, of which 0 "
    ):
        params_of(["=5"])


def test_a_job_from_before_its_handler_kept_the_parameter_secret_matches_in_a_terminal() -> None:
    """The commands do not know the handlers, as docs/jobs-page.md says."""
    (found,) = params_of(["card=4711"])
    assert found.matches("tests.pay", {"card": "4711"})
    assert not found.matches("tests.pay", {"card": {limits.ENCRYPTED: "4711"}})
