"""The job whose handler dispatched a job, and the jobs that it has dispatched: what a viewer sees of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onward.graphql.ids import cursor
from onward.jobs import commands, ledger
from onward.jobs.model import Job, Visible
from onward.runtime.wiring import Runtime
from onward.storage.transaction import Tx
from tests.integration.graphql.conftest import Api
from tests.integration.graphql.test_viewers import ask, behind_tokens, header

ADA, BOB, ADMIN = header("ada"), header("bob"), header("root", "admin")
LATER_US = 9_000_000_000_000_000


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with behind_tokens(tmp_path) as api:
        yield api


async def accept(api: Api, owner: str = "ada", **values: Any) -> Job:
    """Accept a job that waits."""
    onward: Runtime = api.app.state.onward
    new = onward.dispatcher.prepare("steps.process_item", {"item": "x"}, owner=owner, run_at=LATER_US)
    return await onward.writer.run(lambda tx: ledger.accept(tx, replace(new, **values)))


async def cancel(api: Api, job_id: str) -> None:
    onward: Runtime = api.app.state.onward
    everything = Visible(everything=True)
    await onward.writer.run(lambda tx: commands.cancel(tx, job_id, reason=None, visible=everything))


async def test_a_job_has_its_parent_and_its_children(api: Api) -> None:
    parent = await accept(api)
    made = [await accept(api, parent=parent.id) for _ in range(5)]
    ids = [job.id for job in reversed(made)]
    await cancel(api, ids[0])
    query = """query($id: ID!, $after: String, $status: [JobStatus!]) { job(id: $id) {
      parent { id } children(first: 2, after: $after, status: $status) {
        nodes { id parent { id handler } } pageInfo { hasNextPage endCursor } } } }"""
    found = (await ask(api, ADA, query, id=parent.id))["data"]["job"]
    assert found["parent"] is None
    shown = found["children"]
    assert [node["id"] for node in shown["nodes"]] == ids[:2]
    assert shown["nodes"][0]["parent"] == {"id": parent.id, "handler": parent.handler}
    assert shown["pageInfo"] == {"hasNextPage": True, "endCursor": cursor(ids[1])}
    rest = (await ask(api, ADA, query, id=parent.id, after=cursor(ids[2])))["data"]["job"]["children"]
    assert [node["id"] for node in rest["nodes"]] == ids[3:]
    gone = (await ask(api, ADA, query, id=parent.id, status=["CANCELLED", "FAILED"]))["data"]["job"]["children"]
    assert [node["id"] for node in gone["nodes"]] == ids[:1]
    assert (await ask(api, ADA, query, id=ids[0]))["data"]["job"]["parent"] == {"id": parent.id}


async def test_a_page_of_children_is_bounded(api: Api) -> None:
    parent = await accept(api)
    query = "query($id: ID!, $n: Int, $a: String) { job(id: $id) { children(first: $n, after: $a) { nodes { id } } } }"
    for wrong, code in (({"n": 201}, "INVALID"), ({"n": -1}, "INVALID"), ({"a": "x"}, "BAD_CURSOR")):
        answer = await ask(api, ADA, query, id=parent.id, **wrong)
        assert answer["errors"][0]["extensions"]["code"] == code, answer


async def test_a_viewer_sees_no_parent_and_no_child_of_others(api: Api) -> None:
    hers = await accept(api)
    his = await accept(api, "bob", parent=hers.id)
    query = "query($id: ID!) { job(id: $id) { parent { id } children { nodes { id } } } }"
    assert (await ask(api, BOB, query, id=his.id))["data"]["job"] == {"parent": None, "children": {"nodes": []}}
    assert (await ask(api, ADA, query, id=hers.id))["data"]["job"]["children"] == {"nodes": []}
    assert (await ask(api, ADMIN, query, id=his.id))["data"]["job"]["parent"] == {"id": hers.id}


async def test_the_parents_of_a_page_are_read_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = await accept(api)
    for _ in range(5):
        await accept(api, parent=parent.id)
    reads, rows = [], ledger.rows

    def noted(tx: Tx, ids: list[str], *rest: Any) -> list[Any]:
        reads.append(list(ids))
        return rows(tx, ids, *rest)

    monkeypatch.setattr(ledger, "rows", noted)
    await ask(api, ADA, "{ jobs(first: 5) { nodes { parent { id } } } }")
    assert reads == [[parent.id]]
