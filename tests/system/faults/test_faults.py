"""The promise holds under every fault, on every combination in which the fault can happen."""

import pytest

from tests.system.faults.conftest import FaultTestRunner
from tests.system.faults.fault_tests.all import FAULT_TESTS
from tests.system.faults.fault_tests.base import FaultTest

CASES = [
    pytest.param(
        fault_test,
        combination,
        id=f"{fault_test.name}-{combination}",
        marks=[
            *[pytest.mark.alone] * fault_test.alone,
            *[pytest.mark.slow] * fault_test.slow,
            *[pytest.mark.long] * (number >= fault_test.quick),
        ],
    )
    for fault_test in FAULT_TESTS
    for number, combination in enumerate(fault_test.combinations)
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("fault_test", "combination"), CASES)
def test_promise_under_fault(runner: FaultTestRunner, fault_test: FaultTest, combination: str) -> None:
    """Run a fault test (see its own docstring), and afterwards the final checks."""
    runner.outcome(fault_test, combination)
