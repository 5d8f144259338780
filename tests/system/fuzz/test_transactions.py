"""A short campaign of callers' transactions; `tests.system.fuzz.transactions` runs a long one."""

from pathlib import Path

import pytest

from tests.system.fuzz import transactions


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", [*transactions.DRIVERS])
def test_the_jobs_are_those_of_the_committed_rows(dialect: str, tmp_path: Path) -> None:
    with transactions.database(dialect, tmp_path) as url:
        outcome = transactions.campaign(tmp_path, url, 400, seed=1)
    assert outcome.transactions >= 400
    assert outcome.clients_killed > 0
    assert outcome.rows > 100
