"""The page about an application that embeds Onward. Its diff is tried with examples/bookshop, tests/system/examples."""

import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from onward import Onward
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


def test_a_key_of_a_header_reaches_the_function_from_the_console_too(
    tmp_path: Path, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = (block for block in BLOCKS if block.file == "keys.py")
    namespace: dict[str, Any] = {}
    exec(compile(program.text, f"fastapi.md:{program.line}", "exec"), namespace)
    (tmp_path / "settings.toml").touch()
    monkeypatch.setenv("ONWARD_DATABASE__URL", sqlite_ledger)
    onward = Onward.from_settings(tmp_path / "settings.toml", viewer=namespace["viewer"])
    app = Starlette(lifespan=onward.lifespan)
    app.mount("/graphql", onward.graphql)
    with TestClient(app) as client:
        asked = {"query": 'mutation { cancelJob(input: {id: "job_0"}) { errors { code } } }'}
        for headers, code in (
            ({"x-api-key": "k-ada"}, "NOT_FOUND"),
            ({"authorization": "Bearer k-ada"}, "NOT_FOUND"),
            ({"authorization": "Bearer nobody's"}, "NOT_ALLOWED"),
        ):
            answer = client.post("/graphql", json=asked, headers=headers).json()
            assert answer["data"]["cancelJob"]["errors"] == [{"code": code}], headers
        with client.websocket_connect("/graphql", subprotocols=["graphql-transport-ws"]) as socket:
            socket.send_json({"type": "connection_init", "payload": {"Authorization": "Bearer k-ada"}})
            assert socket.receive_json()["type"] == "connection_ack"


def test_the_page_names_the_extra_that_the_fixtures_need() -> None:
    text = (ROOT / "docs" / "fastapi.md").read_text("utf-8")
    assert "onward[testing]" in text[text.index("[fixtures](testing-your-jobs.md)") :][:200]


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
