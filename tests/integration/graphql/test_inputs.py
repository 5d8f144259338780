"""A project's module: oneOf inputs by variable, times without a zone, the context, refusals by name."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import strawberry
from strawberry.extensions import MaskErrors, SchemaExtension
from strawberry.file_uploads import Upload

from onward.graphql.base import SchemaError
from onward.graphql.schema import build
from onward.testing.app import TestApp
from tests.integration.graphql import inputs
from tests.integration.graphql.conftest import serving, settings_in
from tests.integration.graphql.test_websocket import client

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


@pytest.mark.anyio
async def test_the_context_has_a_place_for_loaders_and_the_headers(onward_recording: TestApp) -> None:
    inputs.BATCHES.clear()
    words = "{ words { text length loud } }"
    expected = [{"text": "one", "length": 3, "loud": "ONE"}, {"text": "three", "length": 5, "loud": "THREE"}]
    for _ in range(2):
        assert await onward_recording.graphql(words) == {"data": {"words": expected}}
    assert inputs.BATCHES == [["one", "three"]] * 2, "one batch for each operation"
    answer = await onward_recording.graphql('{ type: header(name: "content-type") none: header(name: "x-none") }')
    assert answer == {"data": {"type": "application/json", "none": None}}


@pytest.mark.anyio
async def test_a_socket_has_its_handshake_s_headers_and_new_loaders_for_each_event(tmp_path: Path) -> None:
    inputs.BATCHES.clear()
    settings = settings_in(tmp_path, gql={"modules": ["tests.integration.graphql.inputs"]})
    with serving(settings) as address:
        async with client(address) as socket:
            *events, _ = await socket.run("subscription { wordTwice { length } }")
            assert [event["payload"] for event in events] == [{"data": {"wordTwice": {"length": 3}}}] * 2
            assert inputs.BATCHES == [["one"]] * 2
            answer, _ = await socket.run('{ header(name: "host") }')
            assert answer["payload"] == {"data": {"header": address}}


def test_schema_extensions_and_federation_are_refused_by_name() -> None:
    class Timing(SchemaExtension):
        __module__ = "mine"

    @strawberry.federation.type(name="Query", keys=["id"])
    class Federated:
        id: strawberry.ID

    @strawberry.type(name="Query")
    class Shared:
        word: str = strawberry.federation.field(shareable=True, resolver=lambda: "x")

    @strawberry.type(name="Query")
    class Plain:
        word: str

    for given, words in (
        ({"Query": Plain, "Timing": Timing}, r"mine\.Timing .*extensions"),
        ({"Query": Plain, "api": strawberry.Schema(Plain, extensions=[MaskErrors])}, r"mine\.api .*extensions"),
        ({"Query": Plain, "api": strawberry.federation.Schema(Plain)}, r"mine\.api .*federation"),
        ({"Query": Federated}, r"Key of Query .*federation"),
        ({"Query": Shared}, r"Shareable of Query\.word .*federation"),
    ):
        module = ModuleType("mine")
        vars(module).update(given)
        with pytest.raises(SchemaError, match=words):
            build([module])
