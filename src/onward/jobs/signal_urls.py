"""Addresses of signals: each has a signed token with an expiry, which is the right to send that one signal."""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from types import NoneType
from typing import NamedTuple

from onward.arguments import check_argument
from onward.handlers.waits import LONGEST
from onward.jobs.base import JobsError

LASTS = timedelta(days=7)
CHARACTERS = 1_000  # of a token, at most: longer ones are not looked at


class Forged(JobsError):
    """The token was not signed with one of the keys."""


class Expired(JobsError):
    """The token's time is over."""


class Target(NamedTuple):
    """The signal that an address is for, and the run of the job; None if it is for any run."""

    job_id: str
    name: str
    run: int | None = None


class SignalUrls:
    """Makes addresses below `base`, signed with the first of the keys, and reads tokens signed with any of them."""

    def __init__(self, keys: Sequence[str], base: str) -> None:
        self._keys = [key.encode() for key in keys]
        self._base = base.rstrip("/")

    def make(self, job_id: str, name: str, expires: timedelta, *, run: int | None = None) -> str:
        """Return the address of a signal of the job, in one run or in any. Raises TypeError and ValueError."""
        check_argument("signal_url: the job", job_id, "a job's id, as enqueue returns it", str)
        check_argument("signal_url: the name", name, 'the name of a signal, as in "approval"', str)
        check_argument("signal_url: expires", expires, "a timedelta, as in expires=timedelta(days=3)", timedelta)
        check_argument("signal_url: run", run, "the number of a run, as in run=1, or None", int, NoneType)
        if not timedelta(0) < expires <= LONGEST:
            raise ValueError(f"signal_url: expires must be more than 0, at most {LONGEST.days:,} days (got {expires})")
        if not self._keys:
            raise ValueError("signal_url needs a key: set signals.secret to a random text of 32 characters or more")
        if "\n" in job_id or "\n" in name:
            raise ValueError("signal_url: neither the job's id nor the name may hold a line break")
        expiry = int(time.time() + expires.total_seconds())
        said = "\n".join(map(str, (job_id, name, expiry, *(() if run is None else (run,))))).encode()
        return f"{self._base}/{_text(said)}.{_text(_signature(self._keys[0], said))}"

    def read(self, token: str) -> Target:
        """Return the signal that the token is for. Raises Forged and Expired."""
        said, signature = _parts(token)
        if not any([hmac.compare_digest(signature, _signature(key, said)) for key in self._keys]):  # noqa: C419 - all
            raise Forged("this address was not made here, or its key is no longer in signals.secret")
        job_id, name, expiry, *run = said.decode().split("\n")
        if time.time() > int(expiry):
            raise Expired("the time of this address is over")
        return Target(job_id, name, int(run[0]) if run else None)


def _parts(token: str) -> tuple[bytes, bytes]:
    """Return the text and the signature of a token; empty ones if it has another form."""
    said, _, signature = token.partition(".")
    try:
        return (_bytes(said), _bytes(signature)) if len(token) <= CHARACTERS else (b"", b"")
    except ValueError:
        return b"", b""


def _signature(key: bytes, said: bytes) -> bytes:
    return hmac.digest(key, b"onward signal\n" + said, "sha256")


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
