"""A handler may open the ledger's own file with Python's SQLite: two copies of the library would damage it."""

from pathlib import Path

import pytest

from tests.processes import graphql, running, wait_until

MODULE = """{head}
from onward import handler


@handler("files.read", mutation=True)
def read(job) -> int:
    {inside}
    connection = sqlite3.connect("shared.db")
    found = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    connection.close()  # the last one of its copy of the library
    return found


@handler("files.other", mutation=True)
def other(job) -> str:
    return "done"
"""
JOB = "query ($id: ID!) { job(id: $id) { status done error { message } } }"


def outcome(address: str, mutation: str) -> dict[str, object]:
    job = graphql(address, f"mutation {{ sent: {mutation} {{ job {{ id }} errors {{ code }} }} }}")["sent"]
    wait_until(lambda: graphql(address, JOB, id=job["job"]["id"])["job"]["done"], 60)
    found: dict[str, object] = graphql(address, JOB, id=job["job"]["id"])["job"]
    return found


@pytest.mark.parametrize("place", ["head", pytest.param("inside", marks=pytest.mark.slow)])
def test_a_handler_that_opens_the_ledger_s_file_takes_nothing_away(place: str, tmp_path: Path) -> None:
    lines = {"head": "", "inside": "pass", place: "import sqlite3"}
    (tmp_path / "files.py").write_text(MODULE.format(**lines), "utf-8")
    (tmp_path / "settings.toml").write_text(
        '[handlers]\nmodules = ["files"]\n[database]\nurl = "sqlite:///shared.db"\n', "utf-8"
    )
    with running("serve", "--port", "0", project=tmp_path, PYTHONPATH="") as server:  # a process of its own modules
        address = server.serving()
        read = [outcome(address, "filesRead(input: {})") for _ in range(2)]
        assert outcome(address, "filesOther(input: {})")["status"] == "SUCCEEDED"
    if place == "head":
        assert [one["status"] for one in read] == ["SUCCEEDED"] * 2
    else:
        assert [one["status"] for one in read] == ["FAILED"] * 2
    assert "replaced" not in server.output()
    assert ("at the head of the module" in server.output()) is (place == "inside")
