"""Modules of the project's: what is wrong with one is told in a line, with its place."""

import sys
from pathlib import Path

import pytest

from onward.config.settings import SettingsError, load
from onward.runtime.wiring import load_handlers
from tests import application
from tests.processes import onward

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
    "another name": ("from onward.handlers.base import Retries", "cannot import name 'Retries'"),
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
    application.write(tmp_path, '[handlers]\nmodules = ["broken"]\n')
    (tmp_path / "broken.py").write_text(f"from onward.handlers.base import handler\n{text}\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with pytest.raises(SettingsError, match=r"^handlers\.modules: ") as refusal:
        load_handlers(load(tmp_path))
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_module_that_raises_shows_no_traceback(command: str, tmp_path: Path) -> None:
    application.write(tmp_path, '[handlers]\nmodules = ["broken"]\n[server]\nport = 0\n')
    (tmp_path / "broken.py").write_text("HANDLERS = ()\nraise RuntimeError('a setting is missing')\n", "utf-8")
    outcome = onward(command, project=tmp_path)
    assert "broken cannot be imported: line 2: RuntimeError: a setting is missing" in outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stdout + outcome.stderr


def test_types_that_make_no_schema_are_told_in_one_line(tmp_path: Path) -> None:
    application.write(tmp_path, '[gql]\nmodules = ["broken"]\n[server]\nport = 0\n')
    (tmp_path / "broken.py").write_text('import strawberry\n@strawberry.type\nclass Query:\n    it: "Gone"\n', "utf-8")
    outcome = onward("serve", project=tmp_path)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("onward: gql.modules: Could not resolve the type of 'it'")
    assert outcome.stderr.count("\n") == 1, outcome.stderr


HIDDEN = {
    "a module that is named as one of ours": ("[handlers]\nmodules = ['app']", "HANDLERS = ()", "is hidden by"),
    "a package that is named as a library": ("[handlers]\nmodules = ['redis.orders']", "HANDLERS = ()", "is hidden by"),
    "an import of a name": (
        "[handlers]\nmodules = ['orders']",
        "from settings import CURRENCY",
        "is hidden by that one: put yours into a package",
    ),
    "an attribute": (
        "[handlers]\nmodules = ['orders']",
        "import settings\nsettings.CURRENCY",
        "is hidden by that one: put yours into a package",
    ),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_a_module_that_another_one_hides_is_told_of_with_the_mend(what: str, tmp_path: Path) -> None:
    settings, orders, words = HIDDEN[what]
    application.write(tmp_path, f"{settings}\n[server]\nport = 0\n")
    (tmp_path / "redis").mkdir()
    for name in ("app.py", "settings.py", "redis/__init__.py", "redis/orders.py"):
        (tmp_path / name).write_text("CURRENCY = 'EUR'\nHANDLERS = ()\n", "utf-8")
    (tmp_path / "orders.py").write_text(orders, "utf-8")
    outcome = onward("serve", project=tmp_path)
    assert outcome.returncode == 2
    assert words in outcome.stderr
    assert outcome.stderr.count("\n") == 1, outcome.stderr


def test_in_a_package_modules_have_what_names_they_like(tmp_path: Path) -> None:
    application.write(tmp_path, "[handlers]\nmodules = ['shop.app']")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "settings.py").write_text("FAMILY = 'orders'\n", "utf-8")
    (tmp_path / "shop" / "app.py").write_text(
        "from onward.handlers.base import handler\nfrom shop.settings import FAMILY\n"
        "@handler(f'{FAMILY}.confirm')\nasync def confirm(job): ...\nHANDLERS = (confirm,)\n",
        "utf-8",
    )
    outcome = onward("check", project=tmp_path)
    assert "handlers: email.welcome, logging.write, orders.confirm, steps.process_item" in outcome.stdout


def test_folders_of_the_project_that_nothing_names_are_no_matter(tmp_path: Path) -> None:
    application.write(tmp_path, '[routes]\n"email.*" = "dramatiq"\n')
    for room in ("backends", "telemetry", "jobs"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    assert "is hidden" not in onward("check", project=tmp_path).stdout
