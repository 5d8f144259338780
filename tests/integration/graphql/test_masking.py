"""Internal errors, as callers see them."""

from typing import Any

import pytest
import structlog

from onward.storage.base import Unavailable
from tests.integration.graphql.conftest import Api
from tests.integration.graphql.project_types import SECRET


async def test_an_unknown_exception_is_shown_as_an_id_that_is_in_the_log(api: Api) -> None:
    with structlog.testing.capture_logs() as logs:
        response = await api.post({"query": "{ raises viewer { roles } }"})
    assert response.status_code == 200
    assert SECRET not in response.text
    [error] = response.json()["errors"]
    assert error["message"] == "Something went wrong on our side"
    assert error["path"] == ["raises"]
    assert error["extensions"]["code"] == "INTERNAL"
    assert response.json()["data"] == {"raises": None, "viewer": {"roles": ["admin"]}}
    [line] = [line for line in logs if line.get("error_id") == error["extensions"]["id"]]
    assert SECRET in str(line["exc_info"])


async def test_a_field_that_lets_a_cancellation_out_takes_no_other_field_s_job_away(api: Api) -> None:
    response = await api.post({"query": 'mutation { processItem(input: {item: "x"}) { job { id } } cancelsToo }'})
    [error] = response.json()["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["cancelsToo"], "INTERNAL")
    assert response.json()["data"]["cancelsToo"] is None
    assert response.json()["data"]["processItem"]["job"]["id"].startswith("job_")


async def test_a_null_in_a_non_null_field_is_an_internal_error(api: Api) -> None:
    [error] = await api.errors("{ null }")
    assert error["extensions"]["code"] == "INTERNAL"


async def test_a_caller_s_mistakes_are_reported_in_full(api: Api) -> None:
    [error] = await api.errors("{ vieweer { id } }")
    assert "vieweer" in error["message"]
    [error] = await api.errors("query($id: ID!) { job(id: $id) { id } }")
    assert "$id" in error["message"]


@pytest.mark.parametrize("query", ["{ jobs { nodes { id } } }", '{ job(id: "job_0") { id } }'])
async def test_a_ledger_that_does_not_answer_is_unavailable(
    api: Api, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    def begin_read(_function: Any) -> Any:
        raise Unavailable("at 10.0.0.7")

    monkeypatch.setattr(api.app.state.services.database, "begin_read", begin_read)
    [error] = await api.errors(query)
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert "10.0.0.7" not in error["message"]


async def test_a_mutation_that_may_have_been_written_says_how_to_find_out(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(_function: Any, _order: Any) -> Any:
        raise Unavailable("at 10.0.0.7")

    monkeypatch.setattr(api.app.state.services.writer, "run", run)
    [error] = (await api.mutate("processItem", item="x"))["errors"]
    assert error["code"] == "UNAVAILABLE"
    assert "idempotency key" in error["message"]
    assert "10.0.0.7" not in error["message"]
