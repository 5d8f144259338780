"""What is promised holds under every fault, on every combination that can suffer it."""

import pytest

from tests.system.faults.conftest import Rig
from tests.system.faults.laws.all import LAWS
from tests.system.faults.laws.base import Law

CASES = [
    pytest.param(
        law,
        combination,
        id=f"{law.name}-{combination}",
        marks=[*[pytest.mark.alone] * law.alone, *[pytest.mark.long] * (number >= law.quick)],
    )
    for law in LAWS
    for number, combination in enumerate(law.combinations)
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("law", "combination"), CASES)
def test_law(rig: Rig, law: Law, combination: str) -> None:
    """The law's own docstring says what; afterwards the books of its site are in order."""
    rig.outcome(law, combination)
