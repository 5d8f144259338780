"""Accounts and sessions."""

from collections.abc import Callable
from typing import Any

from httpx2 import Client

ME = "{ me { email } }"
PASSWORD = "correct horse"
Ask = Callable[..., Any]


def test_a_new_account_is_signed_in_until_it_signs_out(guest: Client, ask: Ask, ada: str) -> None:
    assert ask(ME)["data"] == {"me": {"email": ada}}
    cookies = dict(guest.cookies)
    assert guest.post("/logout").status_code == 204
    assert ask(ME)["data"] == {"me": None}
    guest.cookies.update(cookies)  # kept by a thief
    assert ask(ME)["data"] == {"me": None}


def test_a_password_signs_in(guest: Client, ask: Ask, ada: str) -> None:
    guest.cookies.clear()
    assert guest.post("/login", json={"email": ada.upper(), "password": PASSWORD}).status_code == 204
    assert ask(ME)["data"] == {"me": {"email": ada}}


def test_a_wrong_password_and_an_unknown_address_are_refused_alike(guest: Client, ada: str) -> None:
    guest.cookies.clear()
    wrong = guest.post("/login", json={"email": ada, "password": "wrong horse"})
    unknown = guest.post("/login", json={"email": "nobody@example.org", "password": "wrong horse"})
    assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json())
    assert wrong.status_code == 401


def test_an_address_has_one_account(guest: Client, ada: str) -> None:
    again = guest.post("/register", json={"email": ada, "password": PASSWORD})
    assert again.status_code == 409
