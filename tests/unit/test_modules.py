"""Modules of a project: an error in one is reported in one line, with its place."""

import sys
from pathlib import Path

import pytest

from onward.config.settings import SettingsError, load
from onward.runtime.handlers import load_handlers
from tests import application
from tests.processes import onward

WRONG = {
    "a name without a family": (
        "@handler('confirm')\nasync def confirm(job): ...",
        "line 2: ValueError: 'confirm' must",
    ),
    "a positional parameter": (
        "@handler('orders.confirm')\nasync def confirm(job, order: str): ...",
        "line 2: TypeError: orders.confirm: confirm: order must be keyword-only",
    ),
    "no Python": ("def confirm(:", "SyntaxError: invalid syntax (broken.py, line 2)"),
    "another name": ("from onward.handlers.base import Retries", "cannot import name 'Retries'"),
    "an end": ("import sys\nsys.exit('bye')", "line 3: it ends the process (sys.exit) as it is imported"),
    "no words": (
        "class Broken(Exception):\n    def __str__(self): return 1 / 0\nraise Broken",
        "line 4: Broken: Broken, whose text could not be made",
    ),
    "a failure that nobody hears of": (
        "@handler('a.b', on_failure='a.c')\ndef one(job): ...",
        "a.b: on_failure names 'a.c', and no module here has it: add its module, or correct the name",
    ),
    "a failure that comes back": (
        "@handler('a.b', on_failure='a.c')\ndef one(job): ...\n@handler('a.c', on_failure=one)\ndef two(job): ...",
        "on_failure names 'a.b', whose own failure comes back to it: leave one of these out",
    ),
    "a failure with other parameters": (
        "@handler('a.b', on_failure='a.c')\ndef one(job): ...\n@handler('a.c')\ndef two(job, *, order: str): ...",
        "a.b: on_failure: a.c may have job_id, handler, code, message, and others with a default: give one to order",
    ),
    "no handler": ("async def confirm(job): ...", "broken has no handler; decorate a function with @handler"),
    "no handler in a list": ("HANDLERS = (print,)", "HANDLERS of broken holds <built-in function print>, which is not"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_invalid_handlers_module_is_reported_in_one_line(
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


def test_a_name_that_two_functions_have_is_reported_with_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = "@handler('a.b')\ndef {}(job): ...\n"
    for module, functions in (("twice", ("one", "two")), ("once", ("three",))):
        body = "".join(map(text.format, functions))
        (tmp_path / f"{module}.py").write_text(f"from onward import handler\n{body}", "utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)
    application.write(tmp_path, '[handlers]\nmodules = ["twice"]\n')
    both = r"twice, line 2 \(one\), and twice, line 4 \(two\), both define 'a\.b': give one of them another name"
    with pytest.raises(SettingsError, match=rf"^handlers\.modules: {both}$"):
        load_handlers(load(tmp_path))
    (tmp_path / "twice.py").write_text(f"from onward import handler\n{text.format('one')}", "utf-8")
    monkeypatch.delitem(sys.modules, "twice")
    application.write(tmp_path, '[handlers]\nmodules = ["twice", "once"]\n')
    with pytest.raises(SettingsError, match=r"twice, line 2 \(one\), and once, line 2 \(three\), both define"):
        load_handlers(load(tmp_path))


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_module_that_raises_shows_no_traceback(command: str, tmp_path: Path) -> None:
    application.write(tmp_path, '[handlers]\nmodules = ["broken"]\n[server]\nport = 0\n')
    (tmp_path / "broken.py").write_text("HANDLERS = ()\nraise RuntimeError('a setting is missing')\n", "utf-8")
    outcome = onward(command, project=tmp_path)
    assert "broken cannot be imported: line 2: RuntimeError: a setting is missing" in outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stdout + outcome.stderr


def test_invalid_graphql_types_are_reported_in_one_line(tmp_path: Path) -> None:
    application.write(tmp_path, '[gql]\nmodules = ["broken"]\n[server]\nport = 0\n')
    (tmp_path / "broken.py").write_text('import strawberry\n@strawberry.type\nclass Query:\n    it: "Gone"\n', "utf-8")
    outcome = onward("serve", project=tmp_path)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("onward: gql.modules: Could not resolve the type of 'it'")
    assert outcome.stderr.count("\n") == 1, outcome.stderr


def test_a_hidden_module_is_reported_with_the_fix(tmp_path: Path) -> None:
    application.write(tmp_path, "[handlers]\nmodules = ['redis.orders']\n[server]\nport = 0\n")
    (tmp_path / "redis").mkdir()
    for name in ("redis/__init__.py", "redis/orders.py"):
        (tmp_path / name).touch()
    outcome = onward("serve", project=tmp_path)
    assert outcome.returncode == 2
    assert "is hidden by" in outcome.stderr
    assert outcome.stderr.count("\n") == 1, outcome.stderr


def test_a_module_that_is_installed_beside_its_source_is_loaded_while_both_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image often has both: the source where the server starts, and what pip has installed from it."""
    text = "from onward import handler\n@handler('ovens.heat')\nasync def heat(job): ...\n"
    for place in ("source", "installed"):
        package = tmp_path / place / "bakery"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "ovens.py").write_text(text, "utf-8")
        (package / "recipes.py").write_text("LOAVES = 1\n", "utf-8")
        monkeypatch.syspath_prepend(package.parent)
    for name in ("bakery", "bakery.ovens"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    application.write(tmp_path / "source", '[handlers]\nmodules = ["bakery.ovens"]\n')
    assert "ovens.heat" in load_handlers(load(tmp_path / "source"))
    source = tmp_path / "source" / "bakery"
    (source / "test_ovens.py").touch()  # is not installed
    assert "ovens.heat" in load_handlers(load(tmp_path / "source"))
    for name in ("ovens.py", "recipes.py"):  # the module, and one that it may import
        before = (source / name).read_text("utf-8")
        (source / name).write_text(f"{before}# edited\n", "utf-8")
        with pytest.raises(SettingsError, match=r"'bakery' in .* is hidden by .*installed.*, which comes first"):
            load_handlers(load(tmp_path / "source"))
        (source / name).write_text(before, "utf-8")


def test_a_project_s_modules_may_have_the_former_names_of_onward_s(tmp_path: Path) -> None:
    """The library has a single name at the top of the import path; `app`, `settings`, `jobs`, `progress` are free."""
    names = ("app", "settings", "jobs", "progress", "storage", "cli")
    application.write(tmp_path, f"[handlers]\nmodules = {list(names)}")
    for name in names:
        (tmp_path / f"{name}.py").write_text(
            f"from onward import handler\n@handler('own.{name}')\nasync def run(job): ...\n", "utf-8"
        )
    outcome = onward("check", project=tmp_path)
    assert all(f"own.{name}" in outcome.stdout for name in names), outcome.stdout


def test_modules_in_a_package_may_have_any_name(tmp_path: Path) -> None:
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


def test_unused_folders_of_the_project_do_no_harm(tmp_path: Path) -> None:
    application.write(tmp_path, '[routes]\n"email.*" = "dramatiq"\n')
    for package in ("backends", "telemetry", "jobs"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    assert "is hidden" not in onward("check", project=tmp_path).stdout
