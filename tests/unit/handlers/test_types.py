"""E-mail addresses: the ordinary ones are known without the library, which says the same of each."""

from __future__ import annotations

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from onward.handlers.types import Email, _email_validator, _is_ordinary

ADDRESS = TypeAdapter[str](Email)
LABELS = st.text("abz019-", min_size=1, max_size=66)
ENDS = st.sampled_from(
    ["com", "c", "test", "local", "arpa", "example", "co", "c0m", "COM", "xn--p1ai", "invalid", "onion"]
)
LOCALS = st.text("aZ0._+-'! ", min_size=1, max_size=67) | st.sampled_from(
    ["info", "INFO", "Postmaster", "WebMaster", "admin"]
)


@st.composite
def addresses(draw: st.DrawFn) -> str:
    domain = ".".join([*draw(st.lists(LABELS, max_size=4)), draw(ENDS)])
    return f"{draw(LOCALS)}@{domain}"


@settings(max_examples=2_000)
@given(addresses() | st.text("a.@-_0é\n", max_size=30))
def test_an_ordinary_address_is_one_that_the_library_returns_as_it_is(address: str) -> None:
    _, special = _email_validator()
    if len(address) <= 254 and _is_ordinary(address, special):
        assert validate_email(address, check_deliverability=False).normalized == address


@pytest.mark.parametrize("address", ["ada@example.com", "a.b+c_d-e@mail.example.co", "a1@x-y.example.org"])
def test_the_usual_ones_are_ordinary(address: str) -> None:
    assert _is_ordinary(address, _email_validator()[1])
    assert ADDRESS.validate_python(address) == address


@pytest.mark.parametrize(
    ("address", "normalized"),
    [
        ("ada@EXAMPLE.com", "ada@example.com"),
        ("jörg@example.com", "jörg@example.com"),
        ("a!b@example.com", "a!b@example.com"),
    ],
)
def test_the_library_normalizes_all_others(address: str, normalized: str) -> None:
    assert not _is_ordinary(address, _email_validator()[1])
    assert ADDRESS.validate_python(address) == normalized


@pytest.mark.parametrize(
    "address",
    [
        "ada",
        "ada@localhost",
        "ada@mail.local",
        "ada@sub.test",
        ".ada@example.com",
        "a..b@example.com",
        f"a@{'b' * 64}.com",
        "ada@-a.com",
        "ada@ab--c.com",
        "ada@example.com\n",
        f"a@{'.'.join(['b' * 60] * 5)}.com",
    ],
)
def test_wrong_ones_are_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        ADDRESS.validate_python(address)
    if len(address) <= 254:
        with pytest.raises(EmailNotValidError):
            validate_email(address, check_deliverability=False)
