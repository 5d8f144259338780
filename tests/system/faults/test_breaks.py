"""The table of breaks is whole, and each break still finds what it breaks."""

import pytest

from onward.testing.conformance import Conformance
from tests.system.faults import books, breaks
from tests.system.faults.broken import base
from tests.system.faults.laws.all import LAWS


def test_every_fault_test_has_a_break() -> None:
    """And every row of the table is for a law that there is, on a combination that can suffer it."""
    laws = {law.name: law.combinations for law in LAWS}
    assert {red.law for red in breaks.FAULTS} == laws.keys()
    assert all(red.on in ("", *laws[red.law]) for red in breaks.FAULTS)


def test_every_contract_test_has_a_break() -> None:
    laws = {name.removeprefix("test_") for name in dir(Conformance) if name.startswith("test_")}
    assert {red.law for red in breaks.CONFORMANCE} == laws


def test_every_final_check_has_a_break() -> None:
    """Each is what some law of the table fails with."""
    said = " ".join(red.says for red in breaks.FAULTS)
    assert [law.__name__ for law in books.LAWS if law.__name__ not in said] == []


def test_every_break_exists_and_fails_some_test() -> None:
    named = {red.under for red in (*breaks.FAULTS, *breaks.CONFORMANCE, *breaks.OTHERS)}
    assert named == breaks.BREAKS.keys()


def test_every_break_finds_the_code_that_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it replaces is there; a break that the program has moved away from raises AttributeError."""
    for name in breaks.BREAKS:
        with monkeypatch.context() as patch:
            patch.setattr(base, "put", patch.setattr)
            breaks.install(name)
