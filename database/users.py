"""Users: unique by name and by address, without regard to case; names without regard to width and ligatures either."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import sqlalchemy as sa

from database.tables import users
from onward import Tx
from onward.storage.base import StorageError
from onward.storage.sql import insert_new

_insert = insert_new(users)
_taken = sa.select(users.c.username_key, users.c.email_key).where(
    sa.or_(users.c.username_key == sa.bindparam("username_key"), users.c.email_key == sa.bindparam("email_key"))
)
_address = sa.select(users.c.email).where(users.c.email_key == sa.bindparam("email_key"))
_by_id = sa.select(users.c.id, users.c.username, users.c.email, users.c.created_at).where(
    users.c.id == sa.bindparam("id_")
)


class Taken(StorageError):
    """Another user has the name or the address; `fields` says which of "username" and "email"."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        super().__init__(f"taken: {', '.join(fields)}")
        self.fields = fields


@dataclass(frozen=True, slots=True)
class User:
    id: str
    username: str
    email: str
    created_at: int


def add(tx: Tx, *, username: str, email: str) -> User:
    """Add a user. Raises Taken."""
    user = User(tx.new_id("user"), username, email, tx.now)
    keys = {"username_key": _alike(username), "email_key": email.casefold()}
    if not tx.execute(_insert, id=user.id, username=username, email=email, created_at=user.created_at, **keys):
        names, addresses = set[str](), set[str]()
        for name, address_ in tx.all(_taken, **keys):
            names.add(name)
            addresses.add(address_)
        found = {"username": keys["username_key"] in names, "email": keys["email_key"] in addresses}
        raise Taken(tuple(field for field, taken in found.items() if taken))
    return user


def _alike(name: str) -> str:
    """Return a key that is equal for names in other forms: Ada, ADA, and a full-width one (as RFC 8265 has it)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def reserve(tx: Tx, *, username: str) -> User:
    """Reserve the name for a user without a mailbox. Raises Taken."""
    nobody = f"{tx.new_id('user')}@reserved.invalid"  # RFC 2606: no mail ever goes there
    return add(tx, username=username, email=nobody)


def address(tx: Tx, email: str) -> str | None:
    """Return the address as its user wrote it, found without regard to case."""
    found: str | None = tx.scalar(_address, email_key=email.casefold())
    return found


def get(tx: Tx, user_id: str) -> User | None:
    """Return the user of that id."""
    row = tx.one(_by_id, id_=user_id)
    return User(*row) if row else None
