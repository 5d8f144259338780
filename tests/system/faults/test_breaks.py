"""The table of breaks is complete, and each break still finds the code that it replaces."""

import pytest

from onward.testing.conformance import Conformance
from tests.system.faults import breaks, final_checks
from tests.system.faults.broken import base
from tests.system.faults.fault_tests.all import FAULT_TESTS


def test_every_fault_test_has_a_break() -> None:
    """Every row of the table names an existing test, on one of its combinations."""
    fault_tests = {fault_test.name: fault_test.combinations for fault_test in FAULT_TESTS}
    assert {red.test for red in breaks.FAULTS} == fault_tests.keys()
    assert all(red.on in ("", *fault_tests[red.test]) for red in breaks.FAULTS)


def test_every_contract_test_has_a_break() -> None:
    fault_tests = {name.removeprefix("test_") for name in dir(Conformance) if name.startswith("test_")}
    assert {red.test for red in breaks.CONFORMANCE} == fault_tests


def test_every_final_check_has_a_break() -> None:
    """Each is in the message of some failure in the table."""
    said = " ".join(red.says for red in breaks.FAULTS)
    assert [check.__name__ for check in final_checks.CHECKS if check.__name__ not in said] == []


def test_every_break_exists_and_fails_some_test() -> None:
    named = {red.under for red in (*breaks.FAULTS, *breaks.CONFORMANCE, *breaks.OTHERS)}
    assert named == breaks.BREAKS.keys()


def test_every_break_finds_the_code_that_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outdated break raises AttributeError."""
    for name in breaks.BREAKS:
        with monkeypatch.context() as patch:
            patch.setattr(base, "put", patch.setattr)
            breaks.install(name)
