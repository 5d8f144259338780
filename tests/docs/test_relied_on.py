"""A name of the last release that people rely on changes only together with a line in the changelog."""

import pytest

from tests.docs.relied_on import RECORD, names, unannounced
from tests.processes import ROOT

RECORDED = RECORD.read_text("utf-8").splitlines()


def test_no_name_that_people_rely_on_changed_without_a_changelog_entry() -> None:
    lost = unannounced(RECORDED, names(ROOT), (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert lost == [], "put the name, in backticks, into the changelog's top section, or leave it as it was"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("setting server.port: a whole number | `8000`", "server.port"),
        ("command ./onward serve --port", "./onward serve --port"),
        ("metric onward_job_retries_total: counter | `handler`", "onward_job_retries_total"),
        ("graphql Job.status: JobStatus!", "Job.status"),
        ("graphql Query.jobs(first): Int", "Query.jobs"),
    ],
)
def test_a_change_is_reported_until_the_changelog_names_it(line: str, name: str) -> None:
    assert line in RECORDED
    changed = [one for one in RECORDED if one != line]
    assert unannounced(RECORDED, changed, "# Changelog\n\n## 2\n\n## 1\n") == [line]
    assert unannounced(RECORDED, changed, f"# Changelog\n\n## 2\n\n- `{name}` is another.\n\n## 1\n") == []
    assert unannounced(RECORDED, changed, f"# Changelog\n\n## 2\n\n## 1\n\n- `{name}`\n") == [line]
