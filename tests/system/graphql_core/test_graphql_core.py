"""graphql-core's own tests of execution pass with our executor, and compiled code executes a good share of them."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

DESCRIBE = "pytest-describe==3.2.0"  # collects their functions
# The folder execution/incremental and these test the delivery of one answer in parts, by @defer or @stream. Our schema
# has neither directive, and graphql-core has another class of executors for them.
IN_PARTS = {
    "test_cancellation.py::describe_execute_cancellation": [
        "raises_the_aborted_execution_error_while_incremental_result_is_pending",
        "does_not_wrap_aborts_after_the_initial_result",
    ],
    "test_hooks.py::describe_execute_hooks": [
        "fires_async_work_finished_after_all_incremental_payloads_are_delivered",
    ],
    "test_mutations.py::describe_execute_handles_mutation_execution_ordering": [
        "mutation_fields_with_defer_do_not_block_next_mutation",
        "mutation_with_defer_is_not_executed_serially",
    ],
    "test_subscribe.py::describe_subscription_publish_phase": ["subscribe_function_returns_errors_with_defer"],
    "test_sync.py::describe_execute_synchronously_when_possible::describe_execute_sync": [
        "throws_if_encountering_async_iterable_execution_with_check_sync",
        "throws_if_encountering_async_iterable_execution_without_check_sync",
    ],
}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_graphql_cores_tests_of_execution_pass_with_our_executor(tmp_path: Path) -> None:
    release = f"graphql-core=={metadata.version('graphql-core')}"
    run("pip", "download", "-q", "--no-deps", "--no-binary", "graphql-core", "--dest", "sdist", release, cwd=tmp_path)
    run("pip", "install", "-q", "--no-deps", "--target", "plugins", DESCRIBE, cwd=tmp_path)
    (archive,) = tmp_path.glob("sdist/*.tar.gz")
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(source), "--strip-components=1"], check=True)
    (source / "pytest.ini").write_text("[pytest]\npython_classes = PyTest*\n")
    found = tmp_path / "outcomes.json"
    output = run(
        *("pytest", "-q", "-p", "compiled_plugin", "-p", "no:cacheprovider", "--timeout", "100"),
        *("tests/execution", "--ignore", "tests/execution/incremental"),
        cwd=source,
        OUTCOMES=str(found),
        PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), str(tmp_path / "plugins")]),
    )
    assert found.exists(), output
    report = json.loads(found.read_text())
    counts, outcomes = report["counts"], report["outcomes"]
    print(counts)  # noqa: T201 - shown by -s, and where the test fails
    failed = {name for name, outcome in outcomes.items() if outcome == "failed"}
    in_parts = {f"tests/execution/{place}::{name}" for place, names in IN_PARTS.items() for name in names}
    assert failed == in_parts, output
    assert list(outcomes.values()).count("passed") > 400
    assert counts["operations with a plan"] > 0.7 * counts["operations"], counts
    assert counts["values completed by compiled code"] > 100, counts


def run(*command: str, cwd: Path, **variables: str) -> str:
    """Run a module of this Python, and return its output. Asserts that pip has done its work."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=environment | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert command[0] != "pip" or done.returncode == 0, done.stdout
    return done.stdout
