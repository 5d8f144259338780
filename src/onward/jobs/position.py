"""Positions in the order of commits, from which a reader of changes can go on later, also at another process.

A change has the number of its commit. SQLite numbers commits one after another. PostgreSQL numbers transactions when
they begin to write, and they may end in another order: a position names those that were open, too.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple, Self

import sqlalchemy as sa

from onward.jobs.base import JobsError
from onward.storage.identity import LEDGER_ID
from onward.storage.tables import commits, jobs
from onward.storage.transaction import Tx

MAX_OPEN = 8  # transactions that a position names; it begins before the others
STEP = 32  # commits after which a job's position moves, though the job does not
LEDGER_LENGTH = 8
MAX_NUMBER = 2**63 - 1
_FORM = re.compile(r"([0-9a-f]{0,8})\.([0-9a-f]{1,16})\.([0-9a-f]{1,16})\.((?:[0-9a-f]{1,16},){0,8})", re.ASCII)
_newest = sa.select(sa.func.max(jobs.c.changed)).scalar_subquery()
_ledger = LEDGER_ID.scalar_subquery()
_SNAPSHOT = {
    "sqlite": sa.select(commits.c.n + 1, _newest, _ledger),
    "postgresql": sa.select(sa.text("CAST(pg_current_snapshot() AS TEXT)"), _newest, _ledger),
}


class BadToken(JobsError):
    """The text is no position, or not as this release writes one."""


class Position(NamedTuple):
    """The place from which a reader goes on: at the commits from number `end` on, and those in `open`."""

    ledger: str
    end: int
    open: tuple[int, ...] = ()

    def includes(self, change: int) -> bool:
        """Return whether a reader that goes on from here reads the change of this number."""
        return change >= self.end or change in self.open

    def at(self, end: int) -> Self:
        """Return an earlier position, which includes all that this one does and the changes from `end` on."""
        open_ = [number for number in sorted(self.open) if number < end]
        if len(open_) > MAX_OPEN:
            end, open_ = open_[MAX_OPEN], open_[:MAX_OPEN]
        return self._replace(end=end, open=tuple(open_))

    def near(self, change: int) -> Self:
        """Return this position or an earlier one: the same for as long as the job with this change stays as it is.

        It moves when `STEP` further commits have been made, so that it is never far behind.
        """
        return self.at(max(min(change + 1, self.end), self.end - self.end % STEP))

    def token(self, change: int) -> str:
        """Return the position as text, another one for each change of a job."""
        numbers = "".join(f"{number:x}," for number in self.open)
        text = f"{self.ledger}.{change:x}.{self.end:x}.{numbers}"
        return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    @classmethod
    def of(cls, token: str) -> Self:
        """Read a token. Raises BadToken."""
        try:
            found = _FORM.fullmatch(urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii"))
        except ValueError:
            found = None
        if found is None:
            raise BadToken
        ledger, change, end, numbers = found.groups()
        position = cls(ledger, int(end, 16), tuple(int(number, 16) for number in numbers.split(",")[:-1]))
        if position.token(int(change, 16)) != token or max((position.end, *position.open)) > MAX_NUMBER:
            raise BadToken
        return position


class Snapshot(NamedTuple):
    """The commits that a reader has seen: all whose number is below `end` and not in `open`."""

    ledger: str
    end: int
    newest: int  # the greatest number of a job's change
    open: tuple[int, ...] = ()

    @classmethod
    def of(cls, tx: Tx) -> Self:
        """Read the present one. Read rows afterwards: what is committed between the two is read twice, not missed."""
        now, newest, id_ = tx.one(_SNAPSHOT[tx.dialect])  # type: ignore[misc]
        ledger = (id_ or "")[:LEDGER_LENGTH]
        if tx.dialect == "sqlite":
            return cls(ledger, now, newest or 0)
        _, end, running = now.split(":")
        return cls(ledger, int(end), newest or 0, tuple(map(int, filter(None, running.split(",")))))

    def since(self, before: Self) -> tuple[int, str | None]:
        """Return the changes that are new to a reader of `before`: all from a number on, and some earlier ones.

        Those are of transactions that were open then and are over: an array of PostgreSQL's, None without any.
        """
        over = sorted(set(before.open).difference(self.open))
        # Right after the newest change, for the reason of `position`; a standby that has taken over may be behind that.
        first = min(before.end, before.newest + 1, self.end)
        return first, f"{{{','.join(map(str, over))}}}" if over else None

    @property
    def position(self) -> Position:
        """The position of a reader that has seen this.

        It begins right after the newest change, and not at `end`: it stays while no job changes, and after a crash
        PostgreSQL gives numbers again that reached no disk.
        """
        return Position(self.ledger, self.end, self.open).at(min(self.end, self.newest + 1))
