"""NUL in an argument, which PostgreSQL cannot store in a text."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.graphql.conftest import running, settings_in

NUL = "a\x00b"
MUTATIONS: dict[str, dict[str, Any]] = {
    "registerUser": {"username": NUL, "email": "a@example.org"},
    "sendNotification": {"email": f"{NUL}@example.org", "message": "x"},
    "processItem": {"item": "x", "idempotencyKey": NUL},
    "cancelJob": {"id": "job_x", "reason": NUL},
    "retryJob": {"id": NUL},
    "retryJobs": {"filter": {"handler": [NUL], "errorCode": [NUL]}},
    "cancelJobs": {"filter": {"handler": [NUL]}},
    "pauseHandler": {"handler": NUL},
    "resumeHandler": {"handler": NUL},
}
QUERIES = (
    "query($t: String!) { node: jobs(filter: {handler: [$t]}) { nodes { id } } }",
    "query($t: ID!) { jobs(filter: {owner: $t}) { nodes { id } } }",
    "query($t: String!) { jobs(filter: {errorCode: [$t]}) { nodes { id } } }",
    "query($t: ID!) { node(id: $t) { id } }",
    "query($t: ID!) { job(id: $t) { id } }",
    "query($t: ID!) { jobs(filter: {batch: $t}) { nodes { id } } }",
    "query($t: String!) { jobCount(filter: {errorMessage: $t}) }",
    "query($t: ID!) { batches(after: $t) { id } }",
    "query($t: String!) { jobs(after: $t) { nodes { id } } }",
    "query($t: String!) { jobs(before: $t) { nodes { id } } }",
)


async def test_nul_in_any_argument_is_a_typed_error(tmp_path: Path, ledger_url: str) -> None:
    async with running(settings_in(tmp_path, database={"url": ledger_url})) as api:
        for name, values in MUTATIONS.items():
            payload = await api.mutate(name, "", **values)
            assert payload["errors"][0]["code"] in {"INVALID", "NOT_FOUND"}, (name, payload)
        for query in QUERIES:
            answer = (await api.post({"query": query, "variables": {"t": NUL}})).json()
            codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
            assert codes <= {"INVALID", "BAD_CURSOR"}, (query, answer)


@pytest.mark.parametrize("text", ["a\x00b", "\x00"])
async def test_nul_in_a_jobs_text_is_accepted_and_judged_by_the_handler(
    tmp_path: Path, ledger_url: str, text: str
) -> None:
    async with running(settings_in(tmp_path, database={"url": ledger_url})) as api:
        payload = await api.mutate("processItem", item=text)
        assert await api.ends(payload["job"]["id"]) == "FAILED"
        payload = await api.mutate("sendNotification", email="a@example.org", message=text)
        assert await api.ends(payload["job"]["id"]) == "SUCCEEDED"


@pytest.mark.parametrize("field", ["jobUpdated(id: $t)", "jobsUpdated(filter: {handler: [$t]})"])
async def test_nul_in_a_subscription_is_a_typed_error(tmp_path: Path, ledger_url: str, field: str) -> None:
    type_ = "ID" if "id:" in field else "String"
    query = f"subscription($t: {type_}!) {{ {field} {{ id }} }}"
    async with running(settings_in(tmp_path, database={"url": ledger_url})) as api:
        body, headers = {"query": query, "variables": {"t": NUL}}, {"accept": "text/event-stream"}
        answer = (await api.post(body, headers=headers)).text
        assert '"code":"INVALID"' in answer or '"code":"NOT_FOUND"' in answer, answer
