"""`JobFilter.params`: jobs by the value of a parameter, in queries, bulk mutations and subscriptions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from onward.jobs import pages
from tests.integration.graphql.conftest import Api, running, serving, settings_in
from tests.integration.graphql.test_subscriptions import JOBS, cancel, watching
from tests.integration.graphql.test_viewers import ask, behind_tokens, header, process
from tests.integration.graphql.test_websocket import mutate

PAGE = """query($filter: JobFilter, $first: Int, $after: String) {
  jobs(filter: $filter, first: $first, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } }
  jobCount(filter: $filter)
}"""
LATER = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def by(name: str, *values: Any) -> dict[str, Any]:
    return {"params": [{"name": name, "values": list(values)}]}


async def found(api: Api, wanted: Any) -> list[str]:
    data = await api.data(PAGE, filter=wanted)
    ids = [node["id"] for node in data["jobs"]["nodes"]]
    assert data["jobCount"] == len(ids)
    return ids


async def test_a_parameter_selects_jobs_in_every_field_that_takes_a_filter(tmp_path: Path, ledger_url: str) -> None:
    async with running(settings_in(tmp_path, database={"url": ledger_url})) as api:
        made = {}
        for item in ("A-17", "a-17", 'q"\x00', "17"):
            made[item] = (await api.mutate("processItem", item=item, runAt=LATER))["job"]["id"]
        for item, id_ in made.items():
            assert await found(api, by("item", item)) == [id_]
        assert await found(api, by("item", 17)) == await found(api, by("item", None, True)) == []
        assert await found(api, by("item", 17, "17", "A-17")) == [made["17"], made["A-17"]]
        assert await found(api, {**by("item", "A-17"), "handler": ["email.*"]}) == []
        both = {"params": [{"name": "item", "values": "A-17"}, {"name": "item", "values": ["a-17"]}]}
        assert await found(api, both) == []
        literal = '{ jobs(filter: {params: [{name: "item", values: ["17", 9007199254740993]}]}) { nodes { id } } }'
        assert (await api.data(literal))["jobs"]["nodes"] == [{"id": made["17"]}]
        cancelled = await api.mutate("cancelJobs", "count endCursor", filter=by("item", "A-17"))
        assert cancelled == {"count": 1, "endCursor": None, "errors": []}
        retried = await api.mutate("retryJobs", "count endCursor", filter=by("item", "A-17", "a-17"))
        assert retried == {"count": 1, "endCursor": None, "errors": []}


@pytest.mark.parametrize(
    "params",
    [
        [{"name": "item", "values": []}],
        [{"name": "", "values": ["x"]}],
        [{"name": "a..b", "values": ["x"]}],
        [{"name": "a" * 201, "values": ["x"]}],
        [{"name": ".".join("abcdefghijk"), "values": ["x"]}],
        [{"name": "item", "values": ["x" * 1_001]}],
        [{"name": "item", "values": [{"a": 1}]}],
        [{"name": "item", "values": [["x"]]}],
        [{"name": "item", "values": ["x"] * 21}],
        [{"name": "item", "values": ["x"]}] * 6,
    ],
)
async def test_what_no_parameter_can_equal_is_a_typed_error(api: Api, params: Any) -> None:
    for error in await api.errors(PAGE, filter={"params": params}):
        assert error["extensions"]["code"] == "INVALID"
    payload = await api.mutate("cancelJobs", "count", filter={"params": params})
    assert (payload["count"], [(one["code"], one["path"]) for one in payload["errors"]]) == (
        0,
        [("INVALID", ["filter"])],
    )


async def test_a_number_beyond_64_bits_is_refused_or_rounded_as_json_has_it(api: Api) -> None:
    (error,) = await api.errors('{ jobCount(filter: {params: [{name: "n", values: 18446744073709551616}]}) }')
    assert error["extensions"]["code"] == "INVALID"


async def test_only_admins_filter_by_parameters(tmp_path: Path) -> None:
    """A handler's parameters are shown to nobody else, and answers by their values would be as good."""
    async with behind_tokens(tmp_path) as api:
        await process(api, header("ann"), "A-17", runAt=LATER)
        wanted = by("item", "A-17")
        for who in (header("ann"), header("bob", "staff"), {}):
            answer = await ask(api, who, PAGE, filter=wanted)
            assert {error["extensions"]["code"] for error in answer["errors"]} == {"NOT_ALLOWED"}
        cancel = "mutation($f: JobFilter!) { cancelJobs(input: {filter: $f}) { count errors { code path } } }"
        answer = await ask(api, header("ann"), cancel, f=wanted)
        assert answer["data"]["cancelJobs"] == {"count": 0, "errors": [{"code": "NOT_ALLOWED", "path": ["filter"]}]}
        query = "subscription($f: JobFilter) { jobsUpdated(filter: $f) { id } }"
        events = {**header("ann"), "accept": "text/event-stream"}
        assert (
            '"code":"NOT_ALLOWED"'
            in (await api.post({"query": query, "variables": {"f": wanted}}, headers=events)).text
        )
        assert (await ask(api, header("root", "admin"), PAGE, filter=wanted))["data"]["jobCount"] == 1


async def test_a_subscription_sends_the_jobs_with_the_parameter(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as address:
        other = await mutate(address, "B-1", runAt=LATER)
        async with watching(address, JOBS, filter=by("item", "A-17")) as stream:
            first = asyncio.create_task(stream.next())
            made = []
            while not first.done():  # until the subscription has begun
                made += [await mutate(address, item, runAt=LATER) for item in ("B-2", "A-17")]
                await asyncio.wait({first}, timeout=0.05)
            wanted = made[1::2]
            assert first.result()["data"]["jobsUpdated"]["id"] in wanted
            await cancel(address, other)
            await cancel(address, wanted[-1])
            while (state := (await stream.next())["data"]["jobsUpdated"])["status"] != "CANCELLED":
                assert state["id"] in wanted
            assert state["id"] == wanted[-1]


async def test_a_count_that_would_look_at_too_many_jobs_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(12):
        await api.mutate("processItem", item="many", runAt=LATER)
    monkeypatch.setattr(pages, "SLICE", 1)
    monkeypatch.setattr(pages, "EXAMINE_S", -1.0)
    count = "query($f: JobFilter, $limit: Int! = 100) { jobCount(filter: $f, limit: $limit) }"
    (error,) = await api.errors(count, f=by("item", "many"))
    assert error["extensions"]["code"] == "INVALID"
    assert "narrow the filter" in error["message"]
    assert (await api.data(count, f=by("item", "many"), limit=5))["jobCount"] == 5
    page = (
        await api.post(
            {"query": PAGE.replace("jobCount(filter: $filter)", ""), "variables": {"filter": by("item", "none")}}
        )
    ).json()
    assert page["data"]["jobs"]["nodes"] == []
    assert page["data"]["jobs"]["pageInfo"]["hasNextPage"] is True
    assert page["data"]["jobs"]["pageInfo"]["endCursor"]
    payload = await api.mutate("cancelJobs", "count endCursor", filter=by("item", "many"))
    assert payload == {"count": 12, "endCursor": None, "errors": []}
