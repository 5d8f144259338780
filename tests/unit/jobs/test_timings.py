"""The timings of a process, and of those that it starts."""

from __future__ import annotations

import pytest

from onward.config import errors, settings
from onward.jobs.timings import VARIABLE, Timings


def test_a_process_takes_the_timings_of_the_one_that_started_it() -> None:
    given = Timings(heartbeat_s=0.1, redis_timeout_s=None)
    assert Timings.inherited(given.environment()) == given
    assert Timings.inherited({}) == Timings()
    assert Timings().environment() == {}


def test_what_hands_them_down_is_not_taken_for_a_misspelt_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors.TIMINGS == VARIABLE
    monkeypatch.setenv(VARIABLE, "{}")
    settings.load()
