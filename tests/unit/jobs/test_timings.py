"""The timings of a process, and of those that it starts."""

from __future__ import annotations

import pytest

from onward.config import errors, settings
from onward.jobs.timings import VARIABLE, Timings


def test_a_process_inherits_the_timings_of_its_parent() -> None:
    given = Timings(heartbeat_s=0.1, redis_timeout_s=None)
    assert Timings.inherited(given.environment()) == given
    assert Timings.inherited({}) == Timings()
    assert Timings().environment() == {}


def test_the_variable_that_passes_timings_on_is_not_a_misspelt_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors.TIMINGS == VARIABLE
    monkeypatch.setenv(VARIABLE, "{}")
    settings.load()
