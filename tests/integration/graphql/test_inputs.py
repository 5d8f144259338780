"""Inputs of a project's module, passed by variable: oneOf, and times without a zone."""

from typing import Any

import pytest

from onward.testing.app import TestApp

pytest_plugins = ("onward.testing.fixtures",)
PICK = "query ($input: Pick!) { picked(input: $input) }"


@pytest.fixture
def onward_tables() -> dict[str, object]:
    return {"gql": {"modules": ["tests.integration.graphql.inputs"]}}


@pytest.mark.anyio
async def test_a_one_of_input_by_variable_is_answered_or_refused_with_a_typed_error(onward_recording: TestApp) -> None:
    assert await onward_recording.graphql(PICK, input={"number": 1}) == {"data": {"picked": "number 1"}}
    assert await onward_recording.graphql(PICK, input={"word": "x"}) == {"data": {"picked": "word x"}}
    wrong: tuple[dict[str, Any], ...] = ({}, {"number": 1, "word": "x"}, {"number": None})
    for given in wrong:
        answer = await onward_recording.graphql(PICK, input=given)
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "BAD_REQUEST", error
        assert "data" not in answer


@pytest.mark.anyio
async def test_a_time_without_a_zone_is_refused(onward_recording: TestApp) -> None:
    moment = "query ($at: DateTime!) { moment(at: $at) }"
    answer = await onward_recording.graphql(moment, at="2030-01-31T09:30:00")
    assert "with a time zone" in answer["errors"][0]["message"]
    answer = await onward_recording.graphql(moment, at="2030-01-31T09:30:00+01:00")
    assert answer["data"]["moment"] == "2030-01-31T08:30:00.000000Z"
