"""Mutations that handlers declare: inputs, errors, rights, rows beside the job."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from strawberry.schema import schema_converter

from onward import JobContext, Mutation, Tx, Viewer, handler
from onward.api import composition
from onward.config.settings import SettingsError, load
from onward.graphql.generated import mutations
from onward.graphql.generated.members import Member
from onward.graphql.generated.schema_type import SchemaType
from onward.jobs.param_filter import ENCRYPTED
from onward.storage.tables import jobs
from onward.testing import app
from onward.testing.app import TestApp

MODULE = "tests.integration.graphql.declared_handlers"
SECRET = "a secret of thirty-two characters"
TABLES: dict[str, Any] = {
    "handlers": {"modules": [MODULE]},
    "secrets": {"keys": [Fernet.generate_key().decode()]},
}
NAMES = ("self", "step", "running", "request", "handler", "input", "id", "info", "root", "params", "from_", "aB2")
ORDER = {"items": [{"sku": "pen", "unitPrice": "1.20"}], "address": {"street": "Main"}}


@pytest.fixture(scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestApp]:
    tables = {**TABLES, "auth": {"mode": "jwt", "jwt": {"secret": SECRET}}}
    async with app.running("recording", tmp_path_factory.mktemp("shop"), tables) as running:
        running._client.headers["authorization"] = bearer("root", "admin")
        yield running


def bearer(id: str, *roles: str) -> str:
    return f"Bearer {jwt.encode({'sub': id, 'roles': roles, 'exp': time.time() + 3600}, SECRET, 'HS256')}"


async def send(shop: TestApp, name: str, fields: str = "job { id handler } replayed", **input: Any) -> Any:
    title = name[0].upper() + name[1:]
    text = f"mutation($input: {title}Input!) {{ {name}(input: $input) {{ {fields} errors {{ code message path }} }} }}"
    answer = await shop.graphql(text, input=input)
    assert "errors" not in answer, answer
    return answer["data"][name]


def errors(payload: Any) -> list[tuple[str, list[str] | None]]:
    return [(error["code"], error["path"]) for error in payload["errors"]]


async def test_the_parameters_of_a_handler_are_an_input(shop: TestApp) -> None:
    payload = await send(shop, "shopOrder", order=ORDER, how="sea")
    assert payload["errors"] == []
    job = await shop.job(payload["job"]["id"])
    assert job.handler == "shop.order"
    assert job.params == {
        "order": {
            "items": [{"sku": "pen", "unit_price": "1.20", "size": "s", "tags": []}],
            "address": {"street": "Main", "zip_code": None},
        },
        "how": "sea",
        "note": None,
        "wait": "PT1H",
        "limit": 5,
    }


async def test_values_may_stand_in_the_document(shop: TestApp) -> None:
    answer = await shop.graphql(
        'mutation { shopOrder(input: {order: {items: [{sku: "pen", unitPrice: 1.5, size: LARGE, tags: ["a"]}],'
        ' address: {street: "x"}}, how: sea, wait: "P2D", note: null, limit: 1}) { job { id } errors { message } } }'
    )
    job = await shop.job(answer["data"]["shopOrder"]["job"]["id"])
    assert job.params["order"]["items"] == [{"sku": "pen", "unit_price": "1.5", "size": "l", "tags": ["a"]}]
    assert (job.params["how"], job.params["wait"]) == ("sea", "P2D")


@pytest.mark.parametrize(
    ("order", "paths"),
    [
        ({**ORDER, "items": []}, [["order", "items"]]),
        ({**ORDER, "address": {"street": ""}}, [["order", "address", "street"]]),
        (
            {"items": [*ORDER["items"], {"sku": "x", "unitPrice": "-1"}], "address": {"street": ""}},
            [["order", "items", "1", "sku"], ["order", "items", "1", "unitPrice"], ["order", "address", "street"]],
        ),
        ({**ORDER, "items": [{"sku": "pen", "unitPrice": "NaN"}]}, [["order", "items", "0", "unitPrice"]]),
    ],
)
async def test_each_violation_is_an_error_with_its_path(shop: TestApp, order: Any, paths: list[list[str]]) -> None:
    payload = await send(shop, "shopOrder", order=order)
    assert errors(payload) == [("INVALID", path) for path in paths]
    assert payload["job"] is None


@pytest.mark.parametrize(
    ("input", "path"),
    [
        ({"order": ORDER, "limit": 2**31}, ["limit"]),
        ({"order": ORDER, "limit": 2**70}, ["limit"]),
        ({"order": ORDER, "how": "rail"}, ["how"]),
        ({"order": ORDER, "wait": "an hour"}, ["wait"]),
        ({"order": {**ORDER, "items": [{"sku": "pen", "unitPrice": "x"}]}}, ["order", "items", "0", "unitPrice"]),
        ({"order": {**ORDER, "colour": 1}}, ["order"]),
        ({}, []),
    ],
)
async def test_a_value_of_another_type_is_an_error_of_the_request(shop: TestApp, input: Any, path: list[str]) -> None:
    answer = await shop.graphql(
        "mutation($input: ShopOrderInput!) { shopOrder(input: $input) { replayed } }", input=input
    )
    assert "Variable '$input' has invalid value" in answer["errors"][0]["message"]
    assert answer["errors"][0]["extensions"] == {"code": "BAD_REQUEST", "variable": "input", "path": path}
    assert "data" not in answer


@pytest.mark.parametrize(
    "document", ["{ nix }", "{", "mutation { shopOrder(input: {limit: 2147483648}) { replayed } }"]
)
async def test_an_error_of_the_document_has_a_code(shop: TestApp, document: str) -> None:
    answer = await shop.graphql(document)
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_REQUEST"}


async def test_a_key_stands_for_the_whole_input(shop: TestApp) -> None:
    first = await send(shop, "shopOrder", order=ORDER, idempotencyKey="k")
    same = await send(shop, "shopOrder", order=ORDER, how="air", note=None, idempotencyKey="k")
    other = await send(shop, "shopOrder", order=ORDER, how="sea", idempotencyKey="k")
    assert (first["replayed"], same["replayed"]) == (False, True)
    assert same["job"] == first["job"]
    assert errors(other) == [("IDEMPOTENCY_KEY_REUSED", ["idempotencyKey"])]


async def test_a_key_tells_values_apart_that_only_python_takes_for_the_same(shop: TestApp) -> None:
    """The default is true, and 1 is equal to it."""
    await send(shop, "shopMark", idempotencyKey="m")
    assert (await send(shop, "shopMark", mark=True, idempotencyKey="m"))["replayed"]
    assert errors(await send(shop, "shopMark", mark=1, idempotencyKey="m")) == [
        ("IDEMPOTENCY_KEY_REUSED", ["idempotencyKey"])
    ]


async def test_strawberry_converts_nothing_for_a_request(shop: TestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(schema_converter, "convert_arguments", refuse)
    assert errors(await send(shop, "shopOrder", order=ORDER)) == []


def test_keys_of_mutations_that_were_written_by_hand_mean_the_same_input() -> None:
    """A client that repeats SendNotification across a deploy gets its job, although a handler defines it now."""
    members = [Member(name, name, SchemaType(str)) for name in ("email", "message")]
    given = {"email": "a@example.com", "message": "m", "idempotencyKey": "k"}
    assert mutations._given(given, members) == {"email": "a@example.com", "message": "m", "runAt": None}
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert mutations._given({**given, "runAt": at}, members)["runAt"] == at.isoformat()


async def test_a_job_may_start_later(shop: TestApp) -> None:
    payload = await send(shop, "countWords", "job { status runAt }", text="a", runAt="2100-01-01T00:00:00Z")
    assert errors(payload) == [("INVALID", ["runAt"])]
    payload = await send(shop, "countWords", "job { status }", text="a", runAt="2000-01-01T00:00:00Z")
    assert payload["job"]["status"] == "QUEUED"


async def test_json_is_taken_as_it_is(shop: TestApp) -> None:
    payload = await send(shop, "shopShout", extra={"a": [1, {"b": None}], "camelCase": "x"})
    assert (await shop.job(payload["job"]["id"])).params == {"extra": {"a": [1, {"b": None}], "camelCase": "x"}}


async def test_a_secret_is_encrypted(shop: TestApp) -> None:
    payload = await send(shop, "shopPay", pin="12345", amount=3)
    assert "12345" not in str((await shop.job(payload["job"]["id"])).params)
    assert errors(await send(shop, "shopPay", pin="1", amount=3)) == [("INVALID", ["pin"])]


async def test_a_secret_is_found_by_no_filter(shop: TestApp) -> None:
    """Neither its text nor what stands for it; also where an older job has it in the clear."""
    made = (await send(shop, "shopPay", pin="98765", amount=77))["job"]["id"]

    async def found(name: str, value: Any) -> list[str]:
        query = "query($f: JobFilter) { jobs(filter: $f) { nodes { id } } }"
        answer = await shop.graphql(query, f={"params": [{"name": name, "values": [value]}]})
        return [node["id"] for node in answer["data"]["jobs"]["nodes"]]

    token = (await shop.job(made)).params["pin"][ENCRYPTED]
    assert await found("amount", 77) == [made]
    assert await found("pin", "98765") == await found("pin", token) == await found(f"pin.{ENCRYPTED}", token) == []
    clear = sa.update(jobs).where(jobs.c.id == made).values(params='{"pin":"98765","amount":77}')
    await shop.onward.writer.run(lambda tx: tx.execute(clear))
    assert await found("amount", 77) == [made]
    assert await found("pin", "98765") == []


AGAIN = "query($id: ID!) { job(id: $id) { sendAgain { mutation input secret } } }"


@pytest.mark.parametrize(
    ("name", "input"),
    [
        ("shopOrder", {"order": ORDER, "how": "sea"}),
        (
            "shopOrder",
            {"order": {**ORDER, "items": [{"sku": "ink", "unitPrice": "2", "size": "LARGE", "tags": ["a"]}]}},
        ),
        ("shopShout", {"extra": {"a": [1, {"b": None}], "camelCase": "x", "big": 12345678901234567890}}),
        ("shopNames", dict.fromkeys(NAMES, 1) | {"type": "class"}),
        ("countWords", {"text": "a b"}),
    ],
)
async def test_a_job_says_how_it_can_be_sent_again(shop: TestApp, name: str, input: dict[str, Any]) -> None:
    """The input that it gives makes a job of the same parameters."""
    first = (await send(shop, name, **input))["job"]["id"]
    again = (await shop.graphql(AGAIN, id=first))["data"]["job"]["sendAgain"]
    assert (again["mutation"], again["secret"]) == (name, [])
    second = (await send(shop, name, **again["input"]))["job"]["id"]
    assert second != first
    assert (await shop.job(second)).params == (await shop.job(first)).params


async def test_only_admins_get_the_parameters_of_a_job_and_no_secret(shop: TestApp, viewer: Any) -> None:
    made = (await send(shop, "shopPay", pin="54321", amount=3))["job"]["id"]
    answer = await shop.graphql(AGAIN, id=made)
    assert answer["data"]["job"]["sendAgain"] == {"mutation": "shopPay", "input": {"amount": 3}, "secret": ["pin"]}
    clear = sa.update(jobs).where(jobs.c.id == made).values(params='{"pin":"54321","amount":3}')
    await shop.onward.writer.run(lambda tx: tx.execute(clear))
    assert "54321" not in str(await shop.graphql(AGAIN, id=made))
    paged = await shop.graphql("{ jobs(first: 1) { nodes { sendAgain { input } } } }")
    assert paged["data"]["jobs"]["nodes"] == [{"sendAgain": {"input": {"amount": 3}}}]
    older = sa.update(jobs).where(jobs.c.id == made).values(params_version=9)
    await shop.onward.writer.run(lambda tx: tx.execute(older))
    assert (await shop.graphql(AGAIN, id=made))["data"]["job"] == {"sendAgain": None}
    viewer("ann")
    hers = (await send(shop, "countWords", text="a"))["job"]["id"]
    assert (await shop.graphql(AGAIN, id=hers))["data"]["job"] == {"sendAgain": None}


async def test_a_sequence_is_a_mutation(shop: TestApp) -> None:
    payload = await send(shop, "shopBoth", number=1)
    assert payload["job"]["handler"] == "shop.both"


@pytest.fixture
def viewer(shop: TestApp) -> Iterator[Callable[..., None]]:
    """Send the requests of the test as another viewer."""
    before = shop._client.headers["authorization"]
    yield lambda name, *roles: shop._client.headers.update({"authorization": bearer(name, *roles)})
    shop._client.headers["authorization"] = before


async def test_only_some_roles_may_send_it(shop: TestApp, viewer: Any) -> None:
    for roles, expected in (
        ((), [("NOT_ALLOWED", None)]),
        (("shop",), []),
        (("admin",), []),
        (("x",), [("NOT_ALLOWED", None)]),
    ):
        viewer("ada", *roles)
        assert errors(await send(shop, "shopClose")) == expected, roles


async def test_a_function_of_the_viewer_allows_it(shop: TestApp, viewer: Any) -> None:
    viewer("ada")
    assert errors(await send(shop, "shopOpen")) == []
    viewer("bob")
    assert errors(await send(shop, "shopOpen")) == [("NOT_ALLOWED", None)]


async def test_without_a_token_it_is_refused_as_every_mutation(shop: TestApp, viewer: Any) -> None:
    del shop._client.headers["authorization"]
    payload = await send(shop, "countWords", text="x")
    assert [error["message"] for error in payload["errors"]] == ["This needs a bearer token, or a session."]


async def test_a_row_is_written_beside_the_job(shop: TestApp) -> None:
    fields = "ticket { id madeAt seats } job { id } replayed"
    items = [{"sku": "pen", "unitPrice": "1"}]
    first = await send(shop, "shopTicket", fields, items=items, idempotencyKey="t")
    again = await send(shop, "shopTicket", fields, items=items, idempotencyKey="t")
    assert first["ticket"]["id"].startswith("ticket_")
    assert int(first["ticket"]["madeAt"]) > 10**15
    assert again["ticket"] == {"id": first["ticket"]["id"], "madeAt": "7", "seats": 1}
    assert (again["job"], again["replayed"]) == (first["job"], True)


async def test_a_row_without_an_id_is_written_with_a_key_too(shop: TestApp) -> None:
    first = await send(shop, "shopSeat", "seat { label } job { id } replayed", idempotencyKey="seat")
    again = await send(shop, "shopSeat", "seat { label } job { id } replayed", idempotencyKey="seat")
    assert (first["seat"], first["replayed"]) == ({"label": "5"}, False)
    assert (again["seat"], again["job"], again["replayed"]) == (None, first["job"], True)


async def test_null_is_another_input_where_it_means_something_else_than_nothing(shop: TestApp) -> None:
    await send(shop, "shopSeat", idempotencyKey="null")
    assert (await send(shop, "shopSeat", limit=5, idempotencyKey="null"))["replayed"]
    other = await send(shop, "shopSeat", limit=None, idempotencyKey="null")
    assert errors(other) == [("IDEMPOTENCY_KEY_REUSED", ["idempotencyKey"])]


def test_a_guard_that_nobody_awaits_and_a_parameter_in_the_viewer_s_place_are_refused() -> None:
    async def allow(viewer: Viewer) -> bool:
        return False

    def beside(tx: Tx, *, viewer: Viewer) -> None: ...

    def sit(job: JobContext, *, viewer: str) -> None: ...

    with pytest.raises(TypeError, match="allow must be a plain function"):
        Mutation(allow=allow)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="give the handler's own parameter another name"):
        handler("shop.sit", mutation=Mutation(beside=beside))(sit)


async def test_a_row_that_cannot_be_shown_hides_no_job(shop: TestApp) -> None:
    answer = await shop.graphql(
        'mutation { shopTicket(input: {items: [{sku: "many", unitPrice: "1"}]}) { ticket { id seats } job { id } } }'
    )
    assert answer["data"]["shopTicket"]["ticket"] is None
    assert answer["data"]["shopTicket"]["job"]["id"].startswith("job_")
    assert answer["errors"][0]["path"] == ["shopTicket", "ticket"]
    assert answer["errors"][0]["extensions"] == {"code": "OUTPUT_INVALID"}


async def test_the_function_beside_may_refuse(shop: TestApp, viewer: Any) -> None:
    items = [{"sku": "pen", "unitPrice": "1"}, {"sku": "none", "unitPrice": "1"}]
    payload = await send(shop, "shopTicket", "ticket { id } job { id }", items=items)
    assert errors(payload) == [("NOT_FOUND", ["items", "1", "unitPrice"])]
    assert (payload["ticket"], payload["job"]) == (None, None)
    viewer("mallory", "x")
    assert errors(await send(shop, "shopTicket", "job { id }", items=[])) == [("CONFLICT", None)]


def test_a_handler_that_cannot_be_shown_is_an_error_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unshown.py").write_text(
        'from onward import handler\n\n@handler("shop.x", mutation=True)\ndef x(job, *, data: int | str) -> None: ...\n'
    )
    (tmp_path / "settings.toml").touch()
    monkeypatch.syspath_prepend(tmp_path)
    message = r"^handlers\.modules: shop\.x\.data: GraphQL has no input that is one of several types .* for JSON"
    with pytest.raises(SettingsError, match=message):
        composition.schema(load(tmp_path, handlers={"modules": ["unshown"]}))
