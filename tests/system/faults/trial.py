"""Runs tests under the breaks that must make them fail, each in its own run of pytest."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.system.faults.breaks import CONFORMANCE, FAULTS, OTHERS, ROOT, Red, broken
from tests.system.faults.fault_tests.all import FAULT_TESTS

FAILED = 1  # pytest's exit code where tests failed, and not pytest
FAILURE = re.compile(r"^(?:\s*\|)*\s*E\s+(.*)$", re.MULTILINE)
LONGEST_S = 600


def main(words: list[str]) -> int:
    """Return 1 if a test passed under its break, or failed with another message."""
    bad = 0
    for red, test in tests():
        if words and not any(word in f"{red.test} {red.under}" for word in words):
            continue
        started_s = time.monotonic()
        verdict, line = judge(red, run(red.under, test))
        bad += verdict != "red as it should"
        sys.stdout.write(f"{red.test} | {red.under} | {verdict} | {line} | {time.monotonic() - started_s:.0f} s\n")
        sys.stdout.flush()
    return int(bad > 0)


def tests() -> Iterator[tuple[Red, tuple[str, ...]]]:
    """Return each row, with the arguments that select its test."""
    combinations = {fault_test.name: fault_test.combinations[0] for fault_test in FAULT_TESTS}
    for red in FAULTS:
        on = red.on or combinations[red.test]
        yield red, (f"tests/system/faults/test_faults.py::test_promise_under_fault[{red.test}-{on}]",)
    for red in CONFORMANCE:
        on = red.on or "background-sqlite"
        yield red, (f"tests/contract/test_builtin_backends.py::TestConformance::test_{red.test}", "-k", on)
    for red in OTHERS:
        yield red, (red.test,)


def run(under: str, test: tuple[str, ...]) -> tuple[int, str]:
    """Run the test with the break in every Python process; return its exit code and output."""
    options = ("-q", "--color=no", "--tb=short", "-p", "no:cacheprovider", "-p", "hasty", "-m", "")
    pytest = (sys.executable, "-P", "-m", "pytest", *options, *test)
    started = subprocess.Popen(
        pytest,
        cwd=ROOT,
        env={**os.environ, **broken(under)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = started.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        said, _ = started.communicate()
    return started.returncode, said


def judge(red: Red, ended: tuple[int, str]) -> tuple[str, str]:
    """Return the verdict, and the line of the failure that proves it."""
    code, said = ended
    if code == 0:
        return "STILL GREEN", ""
    failures: list[str] = FAILURE.findall(said)
    found = next((line for line in failures if re.search(red.says, line)), None)
    if code == FAILED and found is not None:
        return "red as it should", found[:200]
    return "RED FOR ANOTHER REASON", next(iter(failures), said[-200:])[:200]
