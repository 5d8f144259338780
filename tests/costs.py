"""How long tests take, so that the dearest are begun first: seconds, by what a test's id begins with.

Only the order follows from it. A test that is not named costs nothing to speak of.
"""

from types import MappingProxyType

SECONDS = MappingProxyType(
    {
        "tests/examples/test_frontend.py": 40,
        "tests/clients": 35,
        "tests/conformance/test_laws.py": 60,
        "tests/conformance/test_third.py": 20,
        "tests/examples/test_shop.py": 20,
        "tests/test_launcher.py": 25,
        "tests/web": 30,
        "tests/test_new.py::test_the_test_that_is_written": 20,
        "tests/docs/test_backup.py": 15,
        "tests/jobs/test_ledger_model.py": 12,
        "tests/testkit": 15,
        "tests/deploy": 10,
        "tests/fuzz": 10,
        "tests/conformance": 5,
        "tests/test_cli.py": 4,
        "tests/telemetry/test_processes.py": 8,
        "tests/releases": 5,
        "tests/docs": 3,
    }
)


def of(test: str) -> float:
    """About how many seconds the test takes, or what it shares with others."""
    return max((seconds for begin, seconds in SECONDS.items() if test.startswith(begin)), default=0)
