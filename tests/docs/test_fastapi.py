"""The page about an application that embeds Onward. Its diff is tried with examples/bookshop, tests/system/examples."""

import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.docs.fences import fences
from tests.processes import ROOT

BLOCKS = fences(ROOT / "docs" / "fastapi.md")


def test_the_shown_tests_are_those_of_the_bookshop() -> None:
    tests = (ROOT / "examples" / "bookshop" / "tests" / "test_jobs.py").read_text("utf-8")
    shown = [block.text for block in BLOCKS if block.language == "python" and not block.file]
    assert shown
    assert [text for text in shown if text not in tests] == []


def test_the_shown_code_of_the_page_is_that_of_the_bookshop() -> None:
    shown = {block.file: block.text for block in BLOCKS if block.language in {"ts", "tsx"}}
    source = ROOT / "examples" / "bookshop" / "page" / "src"
    assert shown
    assert shown == {name: (source / str(name)).read_text("utf-8") for name in shown}


def test_an_application_without_a_schema_mounts_the_one_of_onward(
    tmp_path: Path, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = (block for block in BLOCKS if block.file == "api.py")
    (tmp_path / "settings.toml").touch()
    monkeypatch.setenv("ONWARD_DATABASE__URL", sqlite_ledger)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the project's folder is added to it
    namespace: dict[str, object] = {}
    exec(compile(program.text, f"fastapi.md:{program.line}", "exec"), namespace)
    with TestClient(namespace["app"]) as client:  # type: ignore[arg-type]
        answer = client.post("/graphql", json={"query": "{ system { backend } }"})
        assert answer.json() == {"data": {"system": {"backend": "background"}}}
        assert client.get("/jobs", headers={"accept": "text/html"}).status_code == 200
