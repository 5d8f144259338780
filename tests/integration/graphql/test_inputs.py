"""Inputs of a project's module, passed by variable: oneOf, and times without a zone."""

from types import ModuleType
from typing import Any

import pytest
import strawberry
from strawberry.file_uploads import Upload

from onward.graphql.base import SchemaError
from onward.graphql.schema import build
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


def test_uploads_and_second_types_of_one_name_are_refused_by_name() -> None:
    @strawberry.type(name="Mutation")
    class Sends:
        @strawberry.mutation
        def send(self, file: Upload) -> str:  # noqa: ARG002
            return "sent"

    @strawberry.type(name="PageInfo")
    class Second:
        number: int

    @strawberry.type(name="Query")
    class Asks:
        second: Second | None = None

    for name, kind, words in (("Mutation", Sends, "Upload"), ("Query", Asks, "PageInfo")):
        module = ModuleType("mine")
        setattr(module, name, kind)
        with pytest.raises(SchemaError, match=words):
            build([module])
