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
    """A user of that name or address is there already; `fields` says which of "username" and "email"."""

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
    """The new user. Raises Taken."""
    user = User(tx.new_id("user"), username, email, tx.now)
    keys = {"username_key": _alike(username), "email_key": email.casefold()}
    if not tx.execute(_insert, id=user.id, username=username, email=email, created_at=user.created_at, **keys):
        rows = tx.all(_taken, **keys)
        names, addresses = {row[0] for row in rows}, {row[1] for row in rows}
        raise Taken(
            tuple(
                field
                for field, taken in (
                    ("username", keys["username_key"] in names),
                    ("email", keys["email_key"] in addresses),
                )
                if taken
            )
        )
    return user


def _alike(name: str) -> str:
    """The same for names that are only written in other forms: Ada, ADA, and a full-width one (as RFC 8265 has it)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def reserve(tx: Tx, *, username: str) -> User:
    """The name is taken from now on, by nobody who can be written to. Raises Taken."""
    nobody = f"{tx.new_id('user')}@reserved.invalid"  # RFC 2606: no mail ever goes there
    return add(tx, username=username, email=nobody)


def address(tx: Tx, email: str) -> str | None:
    """How the address stands with its user, whatever the case of its letters here."""
    row = tx.one(_address, email_key=email.casefold())
    return str(row[0]) if row else None


def get(tx: Tx, user_id: str) -> User | None:
    row = tx.one(_by_id, id_=user_id)
    return User(*row) if row else None
