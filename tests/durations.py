"""Durations of tests in seconds, by the beginning of their ids, so that the longest start first.

Only the order follows from it. A test that is not named costs nothing to speak of.
"""

from types import MappingProxyType

SECONDS = MappingProxyType(
    {
        "tests/system/soak/test_soak.py::test_three_minutes": 200,
        "tests/system/faults/test_faults.py": 150,
        "tests/system/graphql_core": 90,
        "tests/system/examples/test_frontend.py": 40,
        "tests/system/examples/test_bookshop_page.py": 40,
        "tests/system/examples/test_bookshop_servers.py": 40,
        "tests/system/clients": 35,
        "tests/system/typescript": 40,
        "tests/system/typescript/test_pages.py::test_each_of_80_jobs": 500,
        "tests/contract/test_builtin_backends.py": 60,
        "tests/contract/test_documented_backend.py": 20,
        "tests/system/examples/test_shop.py": 20,
        "tests/system/test_launcher.py": 25,
        "tests/system/web": 30,
        "tests/system/test_new.py::test_the_generated_test": 20,
        "tests/docs/test_backup.py": 15,
        "tests/integration/jobs/test_ledger_model.py": 12,
        "tests/integration/testing": 15,
        "tests/system/deploy": 10,
        "tests/system/fuzz": 10,
        "tests/contract": 5,
        "tests/system/test_cli.py": 4,
        "tests/integration/telemetry/test_processes.py": 8,
        "tests/integration/releases": 5,
        "tests/docs": 3,
    }
)


def of(test: str) -> float:
    """Return about how many seconds the test takes, or the resource that it shares."""
    return max((seconds for begin, seconds in SECONDS.items() if test.startswith(begin)), default=0)
