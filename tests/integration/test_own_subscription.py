"""A subscription of one's own that yields jobs: from the `change` of each event nothing is missed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import strawberry
from fastapi import FastAPI

from onward import Onward
from onward.graphql.queries import job
from tests.embedded.own_schema import Mine, bearer, first, follow, project, running
from tests.integration.graphql.declared_handlers import count

SEEN = "subscription ($id: ID!) { seen(id: $id) { id position: change } }"
LATER = datetime.now(UTC) + timedelta(days=9)  # so that the jobs change no more
REQUEST = count.job(text="x")
GO_ON = "subscription ($after: String) { jobsUpdated(afterChange: $after) { id } }"


def test_a_change_after_the_job_was_read_is_not_missed(tmp_path: Path) -> None:
    """A position that is taken as the event is shown, and not as it is asked for, is behind that change."""
    onward = Onward.from_settings(project(tmp_path))
    others: list[str] = []

    async def read_then_changed(info: strawberry.Info, id: strawberry.ID) -> AsyncGenerator[Any, None]:
        for _ in range(2):
            found = await job(info, id)
            others.append(await onward.enqueue(REQUEST, owner="ada", run_at=LATER))
            yield found

    @strawberry.type
    class Query(onward.Query, Mine):  # type: ignore[name-defined, misc]
        pass

    @strawberry.type
    class Subscription(onward.Subscription):  # type: ignore[name-defined, misc]
        seen: AsyncGenerator[Any, None] = strawberry.subscription(resolver=read_then_changed, graphql_type=onward.Job)

    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/ours", onward.graphql_with(strawberry.Schema(query=Query, subscription=Subscription)))
    init = {"authorization": bearer("ada")}
    with running(app) as client:
        assert client.portal is not None
        mine = client.portal.call(lambda: onward.enqueue(REQUEST, owner="ada", run_at=LATER))
        positions = [payload["data"]["seen"]["position"] for payload in follow(client, "/ours", SEEN, init, id=mine)]
        for position, other in zip(positions, others, strict=True):
            assert first(client, "/ours", GO_ON, init, after=position)["data"]["jobsUpdated"]["id"] == other
