"""A plugin that ends the process of a test that goes on after its time limit, and shows where it stands.

The limit itself is an exception in the main thread, which a test may catch, and a clean-up may wait for longer. Without
this, a run waits until somebody ends it, and nobody learns for which test.
"""

import faulthandler
import os

import pytest

GRACE_S = 60.0  # for the clean-up after the limit
OUTPUT = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTPUT] = os.dup(2)  # a test's own is captured


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _limit(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Begin anew: pytest itself ends the watch when a test fails."""
    _limit(item)


def pytest_runtest_logfinish() -> None:
    faulthandler.cancel_dump_traceback_later()


def _limit(item: pytest.Item) -> None:
    mark = item.get_closest_marker("timeout")
    marked = (*mark.args, mark.kwargs.get("timeout"))[0] if mark else None
    chosen = marked if marked is not None else item.config.getoption("timeout", None)
    limit_s = float(item.config.getini("timeout") or 0 if chosen is None else chosen)
    if limit_s:
        faulthandler.dump_traceback_later(limit_s + GRACE_S, exit=True, file=item.config.stash[OUTPUT])
