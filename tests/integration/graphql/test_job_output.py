"""`Job.output`: results in the types that handlers declare."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from graphql import Executor

from onward.jobs.model import to_us
from onward.storage.tables import jobs
from onward.testing import app
from onward.testing.app import TestApp
from tests.integration.graphql import declared_handlers
from tests.integration.graphql.test_handler_mutations import ORDER, TABLES, send

OUTPUT = """query($id: ID!) { job(id: $id) { status result error { code message } output {
    __typename
    ... on Receipt { total paidAt items { sku unitPrice size tags } }
    ... on Figures { words longest }
    ... on Address { street zipCode }
} } }"""


@pytest.fixture(scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestApp]:
    async with app.running("immediate", tmp_path_factory.mktemp("shop"), TABLES) as running:
        yield running


async def job_of(shop: TestApp, payload: Any) -> Any:
    answer = await shop.graphql(OUTPUT, id=payload["job"]["id"])
    assert "errors" not in answer, answer
    return answer["data"]["job"]


async def test_a_dataclass_is_an_object_of_its_type(shop: TestApp) -> None:
    job = await job_of(shop, await send(shop, "shopOrder", order=ORDER))
    item = {"sku": "pen", "unitPrice": "1.20", "size": "SMALL", "tags": []}
    assert job["output"] == {
        "__typename": "Receipt",
        "total": "1.20",
        "paidAt": "2030-01-01T00:00:00.000000Z",
        "items": [item],
    }
    assert job["result"]["items"] == [{"sku": "pen", "unit_price": "1.20", "size": "s", "tags": []}]


PLAN: dict[str, Any] = {
    "url": "https://example.org/a?b=c",
    "folder": "/a",
    "byNumber": {"1": "/x"},
    "numbers": [1, 2],
    "span": "P1DT2H",
    "sizes": ["LARGE"],
    "host": "127.0.0.1",
    "picture": "/wA=",
}


async def test_types_with_a_json_form_of_their_own_are_output_in_it(shop: TestApp) -> None:
    payload = await send(shop, "shopPlan", **PLAN)
    assert payload["errors"] == []
    rest = "byId nested pair price address { street zipCode } theirs"
    query = f"query($id: ID!) {{ job(id: $id) {{ result output {{ ... on Plan {{ {' '.join(PLAN)} {rest} }} }} }} }}"
    answer = await shop.graphql(query, id=payload["job"]["id"])
    assert "errors" not in answer, answer
    job = answer["data"]["job"]
    assert job["output"] == {
        **PLAN,
        "folder": "/a/b",
        "byId": {"00000000-0000-0000-0000-000000000007": "1.10"},
        "nested": [[1, 2]],
        "pair": [1, "/a"],
        "price": "1.10",
        "address": {"street": "Main", "zipCode": None},
        "theirs": "x",
    }
    assert (job["result"]["by_number"], job["result"]["numbers"]) == ({"1": "/x"}, [1, 2])
    assert (job["result"]["sizes"], job["result"]["theirs"]) == (["l"], "x")


async def test_parameters_may_have_the_names_that_functions_of_onward_have(shop: TestApp) -> None:
    fields = ["self", "step", "running", "request", "handler", "input", "id", "info", "root", "params", "from_", "aB2"]
    given: dict[str, Any] = {name: number for number, name in enumerate(fields)}
    job = await job_of(shop, await send(shop, "shopNames", type="class", **given))
    assert (job["status"], job["result"]) == ("SUCCEEDED", list(range(len(fields))))
    numbers: dict[str, Any] = {"a_b2" if name == "aB2" else name: number for name, number in given.items()}
    assert declared_handlers.names.job(**numbers, type="None").params == {**numbers, "type": "None"}


async def test_a_wrong_text_is_an_error_with_its_path(shop: TestApp) -> None:
    wrong = {**PLAN, "url": "no url", "host": "1.2.3", "byNumber": {"x": "/x"}}
    payload = await send(shop, "shopPlan", **wrong)
    assert [(error["code"], error["path"][0]) for error in payload["errors"]] == [
        ("INVALID", "url"),
        ("INVALID", "byNumber"),
        ("INVALID", "host"),
    ]


async def test_a_result_without_fields_is_written_by_its_annotation(shop: TestApp) -> None:
    job = await job_of(shop, await send(shop, "shopPaths", folder="/a"))
    assert (job["status"], job["result"], job["output"]) == ("SUCCEEDED", ["/a", "/a/b"], None)


async def test_a_typed_dict_is_an_object_and_none_is_null(shop: TestApp) -> None:
    job = await job_of(shop, await send(shop, "countWords", text="to be seen"))
    assert job["output"] == {"__typename": "Figures", "words": 3, "longest": "seen"}
    assert job["result"] == {"words": 3, "longest": "seen"}
    assert (await job_of(shop, await send(shop, "countWords", text="")))["output"] is None


async def test_the_last_step_of_a_sequence_declares_it(shop: TestApp) -> None:
    job = await job_of(shop, await send(shop, "shopBoth", number=1))
    assert job["output"] == {"__typename": "Address", "street": "2", "zipCode": None}
    assert job["result"] == {"street": "2", "zip_code": None}


async def test_a_step_before_the_last_is_written_by_its_annotation(shop: TestApp) -> None:
    job = await job_of(shop, await send(shop, "shopPublish", number=2))
    assert job["output"] == {"__typename": "Address", "street": "/a2", "zipCode": None}


async def test_a_handler_that_declares_none_has_none(shop: TestApp) -> None:
    job = await job_of(shop, await send(shop, "shopShout", extra={"a": 1}))
    assert (job["output"], job["result"]) == (None, {"a": 1})


async def test_a_result_of_another_type_fails_the_job(shop: TestApp) -> None:
    job = await job_of(shop, await send(shop, "shopWrong"))
    assert (job["status"], job["output"], job["error"]["code"]) == ("FAILED", None, "RESULT_INVALID")
    assert job["error"]["message"] == (
        "the result is no Figures, which the handler declares: result.words: Input should be a valid integer"
    )


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ('{"words": "many"}', "The result of this job is no Figures, which its handler declares now."),
        ("7", "The result of this job is no Figures, which its handler declares now."),
        ('{"words": 1099511627776, "longest": null}', "A number has more than 32 bits"),
    ],
)
async def test_an_older_result_is_null_and_an_error(shop: TestApp, stored: str, message: str) -> None:
    payload = await send(shop, "countWords", text="a")
    change = sa.update(jobs).where(jobs.c.id == payload["job"]["id"]).values(result=stored)
    await shop.onward.writer.run(lambda tx: tx.execute(change))
    answer = await shop.graphql(OUTPUT, id=payload["job"]["id"])
    job, error = answer["data"]["job"], answer["errors"][0]
    assert (job["status"], job["output"]) == ("SUCCEEDED", None)
    assert (error["path"], error["extensions"]["code"]) == (["job", "output"], "OUTPUT_INVALID")
    assert error["message"].startswith(message)


async def test_a_page_with_outputs_is_completed_without_graphql_core(
    shop: TestApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field by field it would take several times as long."""
    for text in ("a b", "a b c"):
        await send(shop, "countWords", text=text)
    monkeypatch.setattr(Executor, "complete_value", None)
    output = "output { __typename ... on Figures { words } }"
    query = f'{{ jobs(first: 2, filter: {{handler: "shop.count"}}) {{ nodes {{ {output} }} }} }}'
    answer = await shop.graphql(query)
    shown = [{"output": {"__typename": "Figures", "words": words}} for words in (3, 2)]
    assert answer == {"data": {"jobs": {"nodes": shown}}}


async def test_a_page_of_jobs_has_their_outputs(shop: TestApp) -> None:
    """A page that does not ask for `output` reads no column of results."""
    await send(shop, "countWords", text="one two")
    query = '{ jobs(first: 1, filter: {handler: "shop.count"}) { nodes { output { ... on Figures { words } } } } }'
    answer = await shop.graphql(query)
    assert answer == {"data": {"jobs": {"nodes": [{"output": {"words": 2}}]}}}


FRAGMENTS = """
fragment Whole on Job { handler output { ...Either } }
fragment Either on JobOutput { __typename ...OfReceipt ... on Figures { words: words } }
fragment OfReceipt on Receipt { total items { sku } }
"""
INLINE = "handler output { __typename ... on Receipt { total items { sku } } ... on Figures { words } }"
FORMS = [
    f"nodes {{ {INLINE} }}",
    "nodes { ...Whole }",
    "nodes { handler output { __typename } } nodes { ...Whole }",
    "nodes { ...Whole @include(if: true) }",
    f"nodes {{ ... on Node {{ ... on Job {{ {INLINE} }} }} }}",
]


async def test_fragments_nulls_and_older_rows_are_the_same_in_each_form_of_a_query(shop: TestApp) -> None:
    """Some of these forms are planned once, and some are walked by graphql-core for each request."""
    await send(shop, "shopOrder", order=ORDER)
    await send(shop, "shopShout", extra={"a": 1})
    old = await send(shop, "countWords", text="a")
    await send(shop, "countWords", text="one two")
    change = sa.update(jobs).where(jobs.c.id == old["job"]["id"]).values(result='{"words": "many"}')
    await shop.onward.writer.run(lambda tx: tx.execute(change))
    for form in [*FORMS, f"{FORMS[1]} }} viewer {{ id"]:
        answer = await shop.graphql(f"{{ jobs(first: 4) {{ {form} }} }} {FRAGMENTS if '...Whole' in form else ''}")
        assert answer["data"]["jobs"]["nodes"] == [
            {"handler": "shop.count", "output": {"__typename": "Figures", "words": 2}},
            {"handler": "shop.count", "output": None},
            {"handler": "shop.shout", "output": None},
            {"handler": "shop.order", "output": {"__typename": "Receipt", "total": "1.20", "items": [{"sku": "pen"}]}},
        ], form
        assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
            (["jobs", "nodes", 1, "output"], "OUTPUT_INVALID")
        ], form


async def test_outputs_of_a_long_page_are_answered_in_slices(shop: TestApp) -> None:
    for number in range(25):
        await send(shop, "countWords", text=" ".join("a" * number))
    query = f'{{ jobs(first: 25, filter: {{handler: "shop.count"}}) {{ nodes {{ {INLINE} }} }} }}'
    answer = await shop.graphql(query)
    assert [node["output"] and node["output"]["words"] for node in answer["data"]["jobs"]["nodes"]] == [
        *range(24, 0, -1),
        None,
    ]


async def test_a_handler_asks_for_a_further_job_by_its_function(shop: TestApp) -> None:
    job = await shop.accept(declared_handlers.chain.job(text="a b"))
    assert job.status == "SUCCEEDED"
    child = await shop.job(job.result)
    assert (child.handler, child.status, child.params) == ("shop.count", "SCHEDULED", {"text": "a b"})
    assert child.run_at == to_us(datetime(2100, 1, 1, tzinfo=UTC))


@pytest.mark.slow
async def test_outputs_are_the_same_on_postgresql(postgres_ledger: str, tmp_path: Path) -> None:
    """The test includes a row beside the job and a repeated key."""
    async with app.running("immediate", tmp_path, {**TABLES, "database": {"url": postgres_ledger}}) as shop:
        job = await job_of(shop, await send(shop, "shopOrder", order=ORDER))
        assert (job["status"], job["output"]["total"]) == ("SUCCEEDED", "1.20")
        asked = {"items": ORDER["items"], "idempotencyKey": "t"}
        first, again = [await send(shop, "shopTicket", "ticket { id madeAt } replayed", **asked) for _ in range(2)]
        assert again["ticket"] == {"id": first["ticket"]["id"], "madeAt": "7"}
        assert (first["replayed"], again["replayed"]) == (False, True)


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ("granted", {"__typename": "Granted", "until": "2030-01-01T00:00:00.000000Z"}),
        ("denied", {"__typename": "Denied", "reason": "no"}),
        ("counted", {"__typename": "Counted", "figure": 1}),
        ("named", {"__typename": "Named", "name": "x"}),
    ],
)
async def test_each_type_of_a_union_is_output_as_itself(shop: TestApp, how: str, shown: Any) -> None:
    payload = await send(shop, "shopDecide", how=how)
    types = "... on Granted { until } ... on Denied { reason } ... on Counted { figure } ... on Named { name }"
    query = f"query($id: ID!) {{ job(id: $id) {{ output {{ __typename {types} }} }} }}"
    answer = await shop.graphql(query, id=payload["job"]["id"])
    assert answer == {"data": {"job": {"output": shown}}}


async def test_a_row_has_what_the_job_has_of_a_default_that_is_made(shop: TestApp) -> None:
    payload = await send(shop, "shopVoucher", "voucher { code } job { id }")
    answer = await shop.graphql("query($id: ID!) { job(id: $id) { result } }", id=payload["job"]["id"])
    assert answer["data"]["job"]["result"] == payload["voucher"]["code"]
