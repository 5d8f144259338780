"""Signals that end a process: a closed terminal and a quit drain it as SIGTERM does."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from onward.children import stop_signals
from tests import application
from tests.processes import running


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (("serve",), signal.SIGHUP),
        pytest.param(("serve",), signal.SIGQUIT, marks=pytest.mark.slow),
        pytest.param(("worker", "--processes", "1"), signal.SIGHUP, marks=pytest.mark.slow),
        (("worker", "--processes", "1"), signal.SIGQUIT),
    ],
)
def test_a_process_drains_and_ends_well(
    command: Sequence[str], number: signal.Signals, tmp_path: Path, redis_url: str, namespace: str
) -> None:
    """The process gives its lease back, so that no other declares it dead, and exits with 0."""
    backend = "dramatiq" if command[0] == "worker" else "background"
    text = f'backend = "{backend}"\n[server]\nport = 0\n[backends.dramatiq]\nurl = "{redis_url}"\n'
    application.write(tmp_path, f'{text}namespace = "{namespace}"\n')
    with running(*command, project=tmp_path) as process:
        process.wait_for("serving" if command[0] == "serve" else "worker is up")
        process.process.send_signal(number)
        assert process.process.wait(60) == 0


def test_nohup_is_respected() -> None:
    """A hang-up signal that was ignored when the process started stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in stop_signals()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.SIGHUP in stop_signals()
