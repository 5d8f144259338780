"""Recurring jobs in the schema."""

from pathlib import Path

from tests.integration.graphql.conftest import running, settings_in, until
from tests.integration.graphql.test_viewers import ask, behind_tokens, header

QUERY = "{ system { schedule { name handler cron timezone nextAt lastAt lastJob { id handler runAt } } } }"
SUMS = {
    "handler": "logging.write",
    "cron": "* * * * * *",
    "timezone": "Asia/Kathmandu",
    "params": {"email": "ada@example.com", "message": "sums"},
}


async def test_a_recurring_job_shows_its_rule_its_next_time_and_its_newest_job(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path, schedule={"sums": SUMS})) as api:

        async def made() -> dict[str, object] | None:
            (entry,) = (await api.data(QUERY))["system"]["schedule"]
            return entry if entry["lastJob"] else None

        entry = await until(made)
    assert (entry["name"], entry["cron"], entry["timezone"]) == ("sums", "* * * * * *", "Asia/Kathmandu")
    assert entry["lastJob"]["handler"] == entry["handler"] == "logging.write"
    assert entry["lastJob"]["runAt"] == entry["lastAt"] < entry["nextAt"]


async def test_recurring_jobs_are_shown_to_admins(tmp_path: Path) -> None:
    async with behind_tokens(tmp_path, schedule={"sums": SUMS}) as api:
        assert (await ask(api, header("ada"), QUERY))["data"]["system"]["schedule"] == []
        (entry,) = (await ask(api, header("root", "admin"), QUERY))["data"]["system"]["schedule"]
        assert entry["name"] == "sums"
