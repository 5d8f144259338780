"""Modules of the project's: what is wrong with one is told in a line, with its place."""

import sys
from pathlib import Path

import pytest

from settings import SettingsError, load
from tests.processes import onward
from wiring import load_handlers

WRONG = {
    "a name without a family": (
        "@handler('confirm')\nasync def confirm(job): ...",
        "line 2: ValueError: 'confirm' must",
    ),
    "a positional parameter": (
        "@handler('orders.confirm')\nasync def confirm(job, order: str): ...",
        "line 2: TypeError: confirm: order must be keyword-only",
    ),
    "no Python": ("def confirm(:", "SyntaxError: invalid syntax (broken.py, line 2)"),
    "another name": ("from handlers.base import Retries", "cannot import name 'Retries'"),
    "a lone handler": (
        "@handler('orders.confirm')\nasync def confirm(job): ...\nHANDLERS = confirm",
        "HANDLERS of broken is no tuple",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_module_of_handlers_that_cannot_be_is_told_in_one_line(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, words = WRONG[what]
    (tmp_path / "settings.toml").write_text('[handlers]\nmodules = ["broken"]\n', "utf-8")
    (tmp_path / "broken.py").write_text(f"from handlers.base import handler\n{text}\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with pytest.raises(SettingsError, match=r"^handlers\.modules: ") as refusal:
        load_handlers(load(tmp_path))
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_module_that_raises_shows_no_traceback(command: str, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[handlers]\nmodules = ["broken"]\n', "utf-8")
    (tmp_path / "broken.py").write_text("HANDLERS = ()\nraise RuntimeError('a setting is missing')\n", "utf-8")
    outcome = onward(command, project=tmp_path)
    assert "broken cannot be imported: line 2: RuntimeError: a setting is missing" in outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stdout + outcome.stderr


def test_types_that_make_no_schema_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[gql]\nmodules = ["broken"]\n', "utf-8")
    (tmp_path / "broken.py").write_text('import strawberry\n@strawberry.type\nclass Query:\n    it: "Gone"\n', "utf-8")
    outcome = onward("serve", project=tmp_path)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("onward: gql.modules: Could not resolve the type of 'it'")
    assert outcome.stderr.count("\n") == 1, outcome.stderr
