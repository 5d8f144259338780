"""The bookshop in this process, on a database of the tests' own: SQLite, or the PostgreSQL that DATABASE_URL names.

With BOOKSHOP_URL it is a bookshop that is being served, whose mail is in MAIL_DIR.
"""

import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

FOLDER = Path(tempfile.mkdtemp(prefix="bookshop-"))
os.environ.setdefault("DATABASE_URL", f"sqlite+aiosqlite:///{FOLDER}/bookshop.db")
os.environ.setdefault("ONWARD_DATABASE__URL", os.environ["DATABASE_URL"])
MAIL = Path(os.environ.setdefault("MAIL_DIR", str(FOLDER / "mail")))
WAIT_S = 30.0


@pytest.fixture(scope="session")
def browser() -> Iterator[httpx2.Client]:
    if url := os.environ.get("BOOKSHOP_URL"):
        with httpx2.Client(base_url=url) as browser:
            yield browser
        return
    from bookshop.__main__ import create
    from bookshop.main import app

    asyncio.run(create())
    with TestClient(app) as browser:
        yield browser


@pytest.fixture
def guest(browser: httpx2.Client) -> httpx2.Client:
    """A browser that is not signed in."""
    browser.cookies.clear()
    return browser


@pytest.fixture
def ask(guest: httpx2.Client) -> Callable[..., Any]:
    """Send a document and its variables to GraphQL, and return the answer."""

    def send(document: str, **variables: Any) -> Any:
        return guest.post("/graphql", json={"query": document, "variables": variables}).json()

    return send


@pytest.fixture
def new_user(guest: httpx2.Client) -> Callable[[], str]:
    """Register somebody, who has the browser from then on, and return the address."""

    def register() -> str:
        address = f"{uuid.uuid4().hex}@example.org"
        guest.post("/register", json={"email": address, "password": "correct horse"}).raise_for_status()
        return address

    return register


@pytest.fixture
def ada(new_user: Callable[[], str]) -> str:
    """The address of a new user."""
    return new_user()


@pytest.fixture
def mail() -> Path:
    """The folder of the messages."""
    return MAIL


@pytest.fixture
def letters() -> Callable[[str], list[str]]:
    """Wait for mail to an address, and return all of it."""

    def wait(address: str) -> list[str]:
        deadline = time.monotonic() + WAIT_S
        while not (found := _letters(address)):
            if time.monotonic() > deadline:
                pytest.fail(f"there is no mail to {address}")
            time.sleep(0.01)
        return found

    return wait


def _letters(address: str) -> list[str]:
    texts = [file.read_text() for file in MAIL.glob("*.eml")]
    return [text for text in texts if f"To: {address}" in text]
