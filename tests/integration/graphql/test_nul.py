"""NUL in an argument, which PostgreSQL cannot store in a text."""

import asyncio
import json
import re
from contextlib import suppress
from pathlib import Path

import pytest

from onward import JobContext, handler
from tests.integration.graphql.asgi_sockets import asgi_socket
from tests.integration.graphql.conftest import Api, running, settings_in
from tests.integration.graphql.sweep import Place, arguments, places
from tests.processes import ROOT

NUL = "a\x00b"
SDL = (ROOT / "gql" / "schema.graphql").read_text("utf-8")
ACCEPTED = {  # the text of a job, or one that finds nothing
    "Mutation.processItem(input.item)",
    "Mutation.sendNotification(input.message)",
    "Mutation.cancelJobs(input.filter.errorMessage)",
    "Mutation.retryJobs(input.filter.errorMessage)",
    "Mutation.cancelJobs(input.filter.params.values)",
    "Mutation.retryJobs(input.filter.params.values)",
    "Query.node(id)",
    "Query.job(id)",
    "Query.jobs(filter.errorMessage)",
    "Query.jobs(filter.params.values)",
    "Query.jobCount(filter.errorMessage)",
    "Query.jobCount(filter.params.values)",
}
ENDLESS = {  # a stream that nothing comes into
    "Subscription.jobsUpdated(ids)",
    "Subscription.jobsUpdated(filter.errorMessage)",
    "Subscription.jobsUpdated(filter.params.values)",
}
ENDLESS_S = 0.5


@handler("tests.nothing")
async def nothing(job: JobContext) -> None:
    """A handler of a schedule, without parameters."""


async def test_nul_in_any_argument_is_a_typed_error(tmp_path: Path, ledger_url: str) -> None:
    handlers = {"modules": ["tests.integration.graphql.test_nul"]}
    async with running(settings_in(tmp_path, database={"url": ledger_url}, handlers=handlers)) as api:
        change = (await api.data("{ jobs { change } }"))["jobs"]["change"]
        job_id = (await api.mutate("processItem", item="x"))["job"]["id"]
        await api.ends(job_id)
        texts = {"id": job_id, "handler": "tests.nothing", "cron": "0 7 1 1 *", "afterChange": change}
        tried = list(places(SDL, NUL, texts))
        assert {place.argument for place in tried} == arguments(SDL)
        assert {place.name for place in tried} >= ACCEPTED | ENDLESS
        for place in tried:
            codes = await codes_of(api, place)
            assert codes <= {"INVALID", "NOT_FOUND", "BAD_CURSOR", "BAD_CHANGE"}, (place, codes)
            assert bool(codes) is (place.name not in ACCEPTED | ENDLESS), place


async def codes_of(api: Api, place: Place) -> set[str]:
    """Return the codes of the errors of an answer, those of a payload included."""
    if place.kind != "subscription":
        return codes_in((await api.post({"query": place.query, "variables": place.variables})).text)
    async with asgi_socket(api.app, "/graphql", {}) as socket:
        await socket.begin({})
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDLESS_S if place.name in ENDLESS else None):
                return codes_in(json.dumps(await socket.run(place.query, place.variables)))
    return set()


def codes_in(answer: str) -> set[str]:
    return set(re.findall(r'"code": ?"(\w+)"', answer))


@pytest.mark.parametrize("text", ["a\x00b", "\x00"])
async def test_nul_in_a_jobs_text_is_accepted_and_judged_by_the_handler(
    tmp_path: Path, ledger_url: str, text: str
) -> None:
    async with running(settings_in(tmp_path, database={"url": ledger_url})) as api:
        payload = await api.mutate("processItem", item=text)
        assert await api.ends(payload["job"]["id"]) == "FAILED"
        payload = await api.mutate("sendNotification", email="a@example.org", message=text)
        assert await api.ends(payload["job"]["id"]) == "SUCCEEDED"
