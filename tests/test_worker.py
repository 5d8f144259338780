"""What `dramatiq worker:broker` and `python -m worker` find."""

from pathlib import Path

import pytest

import worker
from settings import SettingsError


def test_dramatiq_is_refused_a_broker_where_no_job_comes_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").touch()
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    with pytest.raises(SettingsError, match='backend takes "dramatiq"'):
        _ = worker.broker


def test_one_route_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").write_text('[routes]\n"email.*" = "dramatiq"\n', "utf-8")
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    assert worker.broker.namespace == "onward"
