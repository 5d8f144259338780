"""Log lines: a value cannot start a new line."""

import gc
import json
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import structlog

from onward import telemetry
from tests.integration.telemetry.conftest import processing
from tests.processes import environment

FORGED = "ann\n12:00:00 [error    ] forged\x1b[2J\u2028again\u202eniaga"


pytestmark = pytest.mark.usefixtures("logging_as_it_was")
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("environment", ["development", "production"])
def test_a_value_never_starts_a_new_line(environment: str, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure(environment)
    telemetry.logger("jobs").info(FORGED, username=FORGED, nested={"deep": [FORGED]})
    logging.getLogger("library").warning("said %s", FORGED)
    written = capsys.readouterr().err
    assert written.count("\n") == 2
    assert not re.search("[\x1b\u2028\u202e]", written)


def test_a_traceback_differs_from_log_lines(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("development")
    try:
        raise ValueError(FORGED)
    except ValueError:
        telemetry.logger("jobs").exception("failed")
        logging.getLogger("library").exception("failed too")
    first = [line for line in lines(capsys) if not line.startswith("    | ")]
    assert [line.split()[3:5] for line in first] == [["failed", "[jobs]"], ["failed", "too"]]


@pytest.mark.parametrize("environment", ["development", "production"])
def test_a_huge_text_of_an_exception_is_cut(environment: str, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure(environment)
    try:
        raise ValueError("begin" + "x" * 1_000_000 + "end")
    except ValueError as error:
        telemetry.logger("jobs").exception("failed", error=str(error))
    written = capsys.readouterr().err
    assert len(written) < 50_000
    assert all(words in written for words in ("Traceback", "begin", "characters left out", "end"))


def test_a_forgotten_await_is_a_line_with_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    async def enqueue() -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        telemetry.configure("production")
        with structlog.contextvars.bound_contextvars(job="job_1"):
            enqueue()  # type: ignore[unused-coroutine]
            gc.collect()
    (line,) = lines(capsys)
    entry = json.loads(line)
    assert (entry["job"], entry["level"], entry["logger"]) == ("job_1", "warning", "py.warnings")
    assert "enqueue' was never awaited" in entry["event"]


def test_production_writes_one_json_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("production")
    structlog.contextvars.bind_contextvars(job="job_1")
    try:
        raise ValueError("no")
    except ValueError:
        telemetry.logger("jobs").exception("failed", attempt=2, half="\ud800", huge=2**70)
    finally:
        structlog.contextvars.clear_contextvars()
    (line,) = lines(capsys)
    entry = json.loads(line)
    assert (entry["event"], entry["logger"], entry["level"], entry["job"], entry["attempt"]) == (
        "failed", "jobs", "error", "job_1", 2,
    )  # fmt: skip
    assert entry["exception"].endswith("ValueError: no")
    assert entry["timestamp"].endswith("Z")


def test_a_traceback_shows_no_values_of_variables(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("development")

    def connect(password: str) -> None:
        raise ConnectionError(len(password))

    try:
        connect("hunter" + "2")
    except ConnectionError:
        telemetry.logger("jobs").exception("failed")
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize("environment", ["development", "production"])
def test_lines_are_the_same_where_nobody_has_configured_structlog(
    environment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inside an application of one's own nothing may have done so."""
    structlog.reset_defaults()
    telemetry.set_environment(environment)

    def connect(password: str) -> None:
        raise ConnectionError(len(password))

    try:
        connect("hunter" + "2")
    except ConnectionError:
        telemetry.logger("jobs").exception("failed", name=FORGED)
    finally:
        telemetry.set_environment("development")
    telemetry.logger("jobs").debug("a detail")
    written = capsys.readouterr()
    assert written.out == ""
    assert not re.search("hunter2|a detail|[\x1b\u2028\u202e]", written.err)
    if environment == "production":
        entry = json.loads(written.err)
        assert (entry["event"], entry["logger"], entry["name"]) == ("failed", "jobs", FORGED)
        assert entry["exception"].endswith("ConnectionError: 7")
    else:
        first = [line for line in written.err.splitlines() if not line.startswith("    | ")]
        assert [line.split()[1:5] for line in first] == [["[error", "]", "failed", "[jobs]"]]


@pytest.mark.parametrize("writer", ["onward", "library", "nobody"])
def test_what_is_configured_later_is_so_for_the_first_line(writer: str) -> None:
    """Each line is written once, by our format; and nothing is loaded before."""
    code = f"""
import logging, sys, warnings
from onward import telemetry
telemetry.configure_later("production")
telemetry.finish_configuring(if_loaded=True)
assert not {{"structlog", "rich"}} & set(sys.modules)
logging.getLogger("alembic").info("chatter")
if {writer!r} == "onward":
    telemetry.logger("jobs").info("first", n=1)
elif {writer!r} == "library":
    logging.getLogger("library").info("first")
else:
    telemetry.finish_configuring()
import structlog
structlog.get_logger("project").info("second")
logging.getLogger("library").warning("third")
"""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    first = [] if writer == "nobody" else ["first"]
    assert [json.loads(line)["event"] for line in ended.stderr.splitlines()] == [*first, "second", "third"]
    assert ended.stdout == ""


def test_lines_that_come_while_structlog_is_loaded_wait_for_it() -> None:
    """From other threads; a line of the thread that loads it is written as it is. Handlers of others stay."""
    code = """
import logging, sys, threading
from onward import telemetry
telemetry.configure_later("production")
kept = logging.NullHandler()
logging.getLogger().addHandler(kept)
loading, go = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "structlog":
            sys.meta_path.remove(self)
            logging.getLogger("loader").warning("while it is loaded")
            loading.set()
            go.wait(60)

sys.meta_path.insert(0, Slow())
loader = threading.Thread(target=telemetry.finish_configuring)
loader.start()
loading.wait(60)
others = [threading.Thread(target=logging.getLogger("library").warning, args=("meanwhile",)) for _ in range(8)]
for other in others:
    other.start()
go.set()
for thread in (loader, *others):
    thread.join()
assert kept in logging.getLogger().handlers and len(logging.getLogger().handlers) == 2
"""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    first, *lines = ended.stderr.splitlines()
    assert first == "while it is loaded"
    assert [json.loads(line)["event"] for line in lines] == ["meanwhile"] * 8


def test_whoever_has_loaded_structlog_finds_it_configured() -> None:
    """A module of the project has, before the first line."""
    code = """
from onward import telemetry
telemetry.configure_later("production")
import structlog
telemetry.finish_configuring(if_loaded=True)
structlog.get_logger("project").info("first")
telemetry.configure_later("production")
structlog.get_logger("project").info("second")
"""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["event"] for line in ended.stderr.splitlines()] == ["first", "second"]
    assert ended.stdout == ""


def test_configuring_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("development")
    telemetry.configure("development")
    telemetry.logger("jobs").info("once")
    assert len(lines(capsys)) == 1


def test_libraries_log_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("development")
    logging.getLogger("alembic.runtime.migration").info("chatter")
    logging.getLogger("uvicorn.error").warning("matters")
    assert len(lines(capsys)) == 1


async def test_every_line_of_a_run_names_job_handler_attempt_and_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure("production")
    async with processing(tmp_path) as process:
        prepare = process.onward.dispatcher.prepare
        traced, untraced = (prepare("tests.talk", {}, owner=None, trace=trace) for trace in (TRACE, None))
        job, other = await process.run_in_order(traced, untraced)
    entry = [json.loads(line) for line in lines(capsys) if '"shop"' in line]
    named = [(line["event"], line["job"], line["handler"], line["attempt"], line.get("trace")) for line in entry]
    words = ("from a coroutine", "from the standard library", "from a thread")
    assert named == [
        *((word, job.id, "tests.talk", 1, TRACE[3:35]) for word in words),
        *((word, other.id, "tests.talk", 1, None) for word in words),
    ]
