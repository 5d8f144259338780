"""Dramatiq's own command line: the broker that `dramatiq worker:broker` finds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onward.config.settings import SettingsError
from onward.worker import consumers
from tests import application
from tests.processes import ROOT
from tests.servers import free_port

FAST = '[backends.fast]\nclass = "onward.backends.dramatiq:Dramatiq"\n'
FAST += 'url = "redis://127.0.0.1:6390/3"\nnamespace = "fast"\n'


def test_dramatiq_s_command_is_refused_if_no_job_goes_to_dramatiq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application.write(tmp_path)
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    with pytest.raises(SettingsError, match="no job goes to Dramatiq"):
        consumers.build_broker()


def test_one_route_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application.write(tmp_path, '[routes]\n"email.*" = "dramatiq"\n')
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    assert consumers.build_broker().namespace == "onward"


def test_a_backend_with_another_name_has_its_own_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application.write(tmp_path, 'backend = "fast"\n' + FAST)
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    broker = consumers.build_broker()
    assert broker.namespace == "fast"
    assert broker.client.connection_pool.connection_kwargs["port"] == 6390


def test_dramatiq_s_own_command_is_refused_with_two_brokers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = 'backend = "fast"\n[routes]\n"email.*" = "dramatiq"\n' + FAST
    application.write(tmp_path, settings)
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    with pytest.raises(SettingsError, match=r"only one of dramatiq, fast; run `onward worker`"):
        consumers.build_broker()


def test_dramatiq_s_own_command_serves_one_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application.write(tmp_path, 'backend = "dramatiq"\n[queues."email.*"]\nqueue = "mail"\n')
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    with pytest.raises(SettingsError, match=r"only one of dramatiq, dramatiq:mail; .* choose a queue by ONWARD_WORKER"):
        consumers.build_broker()
    for queue, namespace in (("mail", "onward:mail"), ("default", "onward")):
        monkeypatch.setenv("ONWARD_WORKER__QUEUES", queue)
        assert consumers.build_broker().namespace == namespace


@pytest.mark.slow
def test_dramatiq_s_own_command_ends_if_the_ledger_cannot_be_reached(tmp_path: Path) -> None:
    """Without a ledger it would stay up and run no job, and nothing would restart it."""
    ledger = f"postgresql://onward@127.0.0.1:{free_port()}/onward"
    application.write(tmp_path, f'backend = "dramatiq"\n[database]\nurl = "{ledger}"\n')
    command = (sys.executable, "-m", "dramatiq", "worker:broker", "--processes", "2", "--threads", "1")
    environment = {**os.environ, "ONWARD_PROJECT": str(tmp_path)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 2
    said = ended.stdout + ended.stderr
    assert b"the ledger cannot be reached" in said
    assert b"Traceback" not in said
