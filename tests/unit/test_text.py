"""Text from outside: its normal form, its visibility, patterns, each at a cost that is linear in it."""

import json
import random
import time
import unicodedata
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.steps import analyse, validate
from onward.graphql import validation
from onward.graphql.enqueue import check_key
from onward.graphql.types.filter import names
from onward.handlers import types
from onward.mail.message import mailbox, visible
from onward.text.normalization import nfc
from onward.text.patterns import matches
from onward.text.visibility import escape, escape_json, has_invisible, is_plain

MARKS = [chr(code) for code in range(0x300, 0x2_0000) if unicodedata.combining(chr(code))]
BY_CLASS = {unicodedata.combining(mark): mark for mark in MARKS}
DESCENDING = [BY_CLASS[one] for one in sorted(BY_CLASS, reverse=True)]
SAMPLE = [*MARKS, "a", "e", "\u00e9", "\u01d6", "\uac01", "\u1100", "\u1161", "\u11a8", "\u0f71", "\u0f73"]


def descending(n: int) -> str:
    """Return marks in descending order: normalization by insertion moves each of them past all before it."""
    each = n // len(DESCENDING) + 1
    return ("a" + "".join(mark * each for mark in DESCENDING))[:n]


DEAREST: dict[str, Callable[[int], str]] = {
    "marks in descending order": descending,
    "marks that decompose": lambda n: "\u0f71\u0f73" * (n // 2),
    "decomposed letters": lambda n: "e\u0301" * (n // 2),
    "letters that expand": lambda n: "\u1f82" * n,
    "invisible": lambda n: "\u200b" * n,
    "spaces": lambda n: " " * n,
    "addresses": lambda n: "a@" * (n // 2),
    "dots": lambda n: "a." * (n // 2) + "@",
    "angles": lambda n: "<" * n,
    "controls": lambda n: "\x1b" * n,
    "stars": lambda n: "*a" * (n // 2),
}


def quietly(check: Callable[[str], object]) -> Callable[[str], object]:
    def checked(text: str) -> object:
        try:
            return check(text)
        except Exception:  # noqa: BLE001 - the error does not matter here
            return None

    return checked


def run(step: Callable[..., Any]) -> Callable[[str], object]:
    def stepped(text: str) -> object:
        try:
            step(text).send(None)
        except StopIteration as end:
            return end.value
        return None

    return stepped


INPUTS: dict[str, Callable[[str], object]] = {
    "username": types._username,
    "email": types._email,
    "text": types._filled,
    "reason": validation._reason,
    "idempotency key": check_key,
    "handler patterns": lambda text: names([text] * 20, "handler"),
    "matching": lambda text: matches(text.replace("*", ""), text),
    "step validate": run(lambda text: validate(None, item=text)),  # type: ignore[arg-type]
    "step analyse": run(lambda text: analyse(None, {"text": text})),  # type: ignore[arg-type]
    "recipient": mailbox,
    "template": visible,
    "log line": escape,
    "journal line": escape_json,
    "invisible": has_invisible,
    "plain": is_plain,
}


def cost_ns(call: Callable[[str], object], text: str) -> int:
    started = time.thread_time_ns()
    call(text)
    return time.thread_time_ns() - started


def is_linear(call: Callable[[str], object], text: str, twice: str) -> bool:
    """Compare the least costs of some calls, because other work on the machine adds to some of them."""
    small, large = [], []
    for _ in range(40):
        small.append(cost_ns(call, text))
        large.append(cost_ns(call, twice))
        if len(small) >= 3 and min(large) <= 3 * min(small) + 200_000:
            return True
    return False


@pytest.mark.parametrize("name", INPUTS)
def test_twice_the_text_costs_at_most_three_times_as_much(name: str) -> None:
    check, n = quietly(INPUTS[name]), 8_000
    for kind, make in DEAREST.items():
        assert is_linear(check, make(n), make(2 * n)), kind


@given(st.text(st.sampled_from(SAMPLE), max_size=60))
def test_the_normal_form_is_unicodes(text: str) -> None:
    assert nfc(text) == unicodedata.normalize("NFC", text)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_star_stands_for_any_characters(pattern: str, name: str) -> None:
    assert matches(name, pattern) == fnmatchcase(name, pattern)


@pytest.mark.parametrize("pattern", ["?", "[ab]", "[!b]", "a?"])
def test_only_a_star_is_special(pattern: str) -> None:
    assert not matches("a", pattern)
    assert matches(pattern, pattern)


def test_a_pattern_that_could_backtrack_is_matched_in_linear_time() -> None:
    name = "a" * 200
    started = time.thread_time()
    for _ in range(400):
        assert not matches(name, "*a" * 99 + "*b")
    assert time.thread_time() - started < 1


@pytest.mark.parametrize("code", [0xAD, 0x34F, 0x115F, 0x17B4, 0x180E, 0x200B, 0x2060, 0x2800, 0x3164, 0xFE0F, 0xFFA0])
def test_a_username_has_no_invisible_characters(code: int) -> None:
    with pytest.raises(Exception, match="invisible"):
        types._username(f"ada{chr(code)}lovelace")


@pytest.mark.parametrize("name", ["Ada", "مرحبا", "김철수", "Ⅷ", "ស្រី", "ada lovelace", "नमस्ते", "🐍"])
def test_a_username_may_be_of_any_script(name: str) -> None:
    assert types._username(name) == nfc(name)


def test_a_username_is_measured_in_its_normal_form() -> None:
    assert types._username("u\u0308" * 64) == "\u00fc" * 64


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f", "\u061c", "\x1b", "\x85", "\u2028"])
def test_characters_that_change_the_text_direction_are_escaped(mark: str) -> None:
    assert mark not in escape(f"a{mark}b") + escape_json(json.dumps(f"a{mark}b", ensure_ascii=False))


def test_other_text_is_unchanged() -> None:
    characters = "".join(random.Random(1).choices("aé漢🐍 \u200d", k=200))
    assert escape(characters) == escape_json(characters) == characters
