"""A project's modules that use Python's own SQLite: whichever it is, the ledger is opened by that one, too."""

import sys
from pathlib import Path

import pytest

from onward.config.settings import load
from onward.runtime.sqlite_copies import is_embedded

BACKEND = '[backends.own]\nclass = "opens_ledger:Own"\n'


@pytest.mark.parametrize(
    "settings",
    [
        '[auth]\nmode = "custom"\nviewer = "opens_ledger:viewer"\n',
        f'backend = "own"\n{BACKEND}',
        f'[routes]\n"a.b" = "own"\n{BACKEND}',
    ],
    ids=["viewer", "backend", "route"],
)
def test_a_module_that_opens_the_ledger_s_file_is_known_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    (tmp_path / "settings.toml").write_text(settings, "utf-8")
    module = "import sqlite3\nfrom onward import Backend\n\nclass Own(Backend): ...\n\ndef viewer(connection): ...\n"
    (tmp_path / "opens_ledger.py").write_text(module, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("sqlite3", "opens_ledger"):  # as in a process that has just started
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    assert is_embedded(load(tmp_path), with_gql=True)
