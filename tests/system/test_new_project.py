"""`onward new project`: the folder works at once, and nothing is half written."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import graphql
import pytest
from packaging.requirements import Requirement

from onward.cli import new_handler, new_project
from onward.config import extras
from onward.config.errors import SettingsError
from tests.docs.fences import fences
from tests.processes import ROOT, onward, pytest_in


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    new_project.write(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.mark.slow
def test_the_tests_of_a_new_project_pass(shop: Path) -> None:
    done = pytest_in(shop)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_check_finds_nothing_wrong(shop: Path) -> None:
    done = onward("check", project=shop)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_and_the_readme_of_a_new_project_match_its_code(shop: Path) -> None:
    page, readme = fences(ROOT / "docs" / "new-project.md"), fences(shop / "README.md")
    (shown,) = (fence for fence in page if fence.file)
    assert shown.text == (shop / str(shown.file)).read_text()
    schema = graphql.build_schema(onward("schema", project=shop).stdout)
    operations = [fence.text for fence in (*page, *readme) if fence.language == "graphql"]
    assert [graphql.validate(schema, graphql.parse(text)) for text in operations] == [[]] * 3


def test_the_linter_of_a_clone_accepts_a_further_handler() -> None:
    written = new_handler._files("orders.cancel", "orders_cancel", "handlers.orders_cancel", ROOT)
    assert {str(file.relative_to(ROOT)) for file in written} == {
        "handlers/orders_cancel.py",
        "tests/test_orders_cancel.py",
    }
    for file, text in written.items():
        command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", str(file), "-"]
        output = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
        assert output.returncode == 0, output.stdout


def test_a_handler_may_have_the_name_of_the_sample() -> None:
    """Each name is replaced once."""
    written = new_handler._files("my.sample_task", "my_sample_task", "shop.my_sample_task", Path("shop"))
    text = written[Path("shop/shop/my_sample_task.py")]
    assert '@handler("my.sample_task", mutation=True' in text
    assert "async def my_sample_task(" in text


def test_a_new_project_depends_on_this_release(shop: Path) -> None:
    (line,) = (line for line in (shop / "pyproject.toml").read_text().splitlines() if line.startswith("dependencies"))
    assert Requirement(line.split('"')[1]).specifier.contains(metadata.version("onward"))
    assert f"~={metadata.version('onward')}" in (shop / "README.md").read_text()


def test_every_name_of_the_sample_is_replaced(tmp_path: Path) -> None:
    """A hyphen in the project's name is an underscore in the package's."""
    new_project.write(tmp_path / "my-shop")
    files = [file for file in (tmp_path / "my-shop").rglob("*") if file.is_file()]
    assert {str(file.relative_to(tmp_path / "my-shop")) for file in files} == {
        ".dockerignore",
        ".gitignore",
        "Dockerfile",
        "README.md",
        "my_shop/__init__.py",
        "my_shop/orders.py",
        "pyproject.toml",
        "settings.toml",
        "tests/test_orders.py",
    }
    assert not [file for file in files if "sample" in file.read_text().lower()]
    assert 'name = "my-shop"' in (tmp_path / "my-shop/pyproject.toml").read_text()


def test_an_empty_folder_is_filled_and_has_the_usual_rights(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    new_project.write(tmp_path / "shop")
    (tmp_path / "other").mkdir()
    assert (tmp_path / "shop").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my shop", "must be lowercase letters, digits, - and _, 50 at most, and begin with a letter, as in shop"),
        ("Shop", "must be lowercase letters"),
        ("1shop", "must be lowercase letters"),
        ("shop-", "must be lowercase letters"),
        ("..", "must be lowercase letters"),
        ("s" * 51, "50 at most"),
        ("class", "class is a keyword of Python: take another name"),
        ("email", "there is a module email already"),
        ("onward", "there is a module onward already"),
        ("prometheus-client", "there is a module prometheus_client already"),
        ("strawberry-graphql", "there is an installed package strawberry-graphql already"),
        ("tests", "tests is the name of another folder in a project"),
        ("there", "there exists already and is not empty: move it, or take another name"),
        ("file", "file exists already"),
        ("nowhere/shop", "cannot be written: No such file or directory"),
    ],
)
def test_a_project_that_cannot_be_is_refused_and_nothing_is_written(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.py").write_text("mine = 1\n")
    (tmp_path / "file").write_text("mine\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SettingsError) as error:
        new_project.write(tmp_path / name)
    assert words in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(SettingsError, match="cannot be written: No space left on device"):
        new_project.write(tmp_path / "shop")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda extra: extra != "testing")
    monkeypatch.chdir(Path(__file__).parent)
    words = new_project._next_steps(Path("shop"))
    assert words[1:] == ["  cd shop", '  pip install "onward[testing]"', "  pytest", "  onward serve"]


def test_the_command_says_how_to_go_on(tmp_path: Path) -> None:
    done = onward("new", "project", "shop", project=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.strip() for line in done.stdout.splitlines()[1:]] == ["cd shop", "pytest", "onward serve"]
    again = onward("new", "project", "shop", project=tmp_path)
    assert again.returncode == 2
    assert again.stderr == "onward: shop exists already and is not empty: move it, or take another name\n"


def test_a_further_handler_goes_into_the_package_and_its_test_to_the_others(shop: Path) -> None:
    settings = (shop / "settings.toml").read_text()
    done = onward("new", "handler", "orders.cancel", project=shop)
    assert done.stdout.splitlines()[:4] == [
        "wrote shop/orders_cancel.py",
        "wrote tests/test_orders_cancel.py",
        'added to settings.toml: [handlers] modules = ["shop.orders_cancel"]',
        "test it:  pytest",
    ], done.stderr
    listed = settings.replace('["shop.orders"]', '["shop.orders_cancel", "shop.orders"]')
    assert (shop / "settings.toml").read_text() == listed
    again = onward("new", "handler", "orders.cancel", project=shop)
    assert "there is a handler orders.cancel already" in again.stderr
    tests = pytest_in(shop, "tests/test_orders_cancel.py")
    assert "3 passed" in tests.stdout, tests.stdout + tests.stderr
