"""The contract tests of one combination that CI runs, and a developer's run leaves to another combination."""

import pytest

OF_THE_LIBRARY = {
    "test_a_job_that_kills_its_process_is_poison_and_counts_against_no_other",
    "test_a_handler_with_a_process_of_its_own_is_killed_with_its_job",
}
"""Tests of processes that the library starts whatever the backend: the same tests with background tasks fail with them.

A worker's death under Dramatiq, and its deliveries afterwards, have the tests of killed workers.
"""

SLOW = {"test_the_ends_of_a_handler_with_a_process_of_its_own_are_the_same"}
"""Tests that start several processes; `tests/integration/jobs/test_step_processes.py` has quick ones of the same."""


@pytest.hookimpl(tryfirst=True)  # before the markers choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if item.originalname in SLOW or (item.originalname in OF_THE_LIBRARY and "dramatiq" in item.name):
            item.add_marker(pytest.mark.slow)
