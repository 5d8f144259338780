"""Signatures of handlers: their SDL, and the errors of those that have none."""

import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from enum import Enum
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import graphql
import pytest
import strawberry
from pydantic import BaseModel
from typing_extensions import TypeAliasType

from onward import Handler, Mutation, handler, sequence
from onward.graphql.base import SchemaError
from onward.graphql.generated.mutations import mutation_of
from onward.graphql.generated.types import Types
from onward.graphql.schema import build
from tests.processes import ROOT
from tests.unit.graphql import signatures
from tests.unit.graphql.signatures import SHOWN

if TYPE_CHECKING:
    from onward import Tx as OnlyForTypeCheckers

T = TypeVar("T")
KEY = '"""The same key with the same input gives the same job.""" idempotencyKey: String'
RUN_AT = '"""The earliest start; at most a year ahead.""" runAt: DateTime'


@pytest.fixture(scope="module")
def schema() -> graphql.GraphQLSchema:
    return build(handlers={name: made for name, (made, _) in SHOWN.items()})._schema


def fields(schema: graphql.GraphQLSchema, name: str) -> str:
    """Return the fields of a type as they are printed, on one line."""
    text = graphql.print_type(schema.type_map[name])
    return " ".join(text.partition("{\n")[2].rpartition("}")[0].split())


@pytest.mark.parametrize("name", SHOWN)
def test_a_signature_becomes_an_input(schema: graphql.GraphQLSchema, name: str) -> None:
    made, expected = SHOWN[name]
    assert made.mutation is not None
    title = made.mutation.name[0].upper() + made.mutation.name[1:]
    assert fields(schema, f"{title}Input") == f"{expected} {KEY} {RUN_AT}".strip()
    assert fields(schema, f"{title}Payload").replace('"""True if the job was there before.""" ', "") == (
        "job: Job replayed: Boolean! errors: [UserError!]!"
    )
    assert schema.mutation_type is not None
    field = schema.mutation_type.fields[made.mutation.name]
    assert (str(field.type), str(field.args["input"].type)) == (f"{title}Payload", f"{title}Input!")


def test_there_are_forty_signatures() -> None:
    assert len(SHOWN) >= 40


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ItemInput",
            (
                '"""3 to 8 characters. Matches `^[A-Z0-9-]+$`.""" sku: String! unitPrice: Decimal!'
                ' """At least 1.""" amount: Int! = 1 tags: [String!]! = []'
            ),
        ),
        (
            "AddressInput",
            (
                '"""Street and number. At least 1 character.""" street: String! zipCode: String'
                ' kind: AddressKind! = home oldName: String! = "" @deprecated(reason: "Use `street`.")'
            ),
        ),
        ("OrderInput", '"""At least 1 item.""" items: [ItemInput!]! address: AddressInput byName: String! = "x"'),
        ("PointInput", "x: Int y: Int"),
        ("Size", "SMALL LARGE"),
        ("AddressKind", "home work"),
        ("Receipt", "total: Decimal! paidAt: DateTime items: [Item!]!"),
        ("Item", "sku: String! unitPrice: Decimal! amount: Int! tags: [String!]!"),
    ],
)
def test_classes_become_types(schema: graphql.GraphQLSchema, name: str, expected: str) -> None:
    assert fields(schema, name) == expected


def test_words_come_from_docstrings(schema: graphql.GraphQLSchema) -> None:
    mutation = schema.mutation_type
    assert mutation is not None
    assert mutation.fields["sigWords"].description == "Tell."
    assert mutation.fields["sigText"].description == "Accept a job of `sig.text`."
    assert (mutation.fields["oldOne"].description, mutation.fields["oldOne"].deprecation_reason) == (
        "As before.",
        "Use `sigNumber`.",
    )
    assert [schema.type_map[name].description for name in ("Size", "ItemInput", "Receipt", "AddressInput")] == [
        "Sizes of a parcel.",
        "A line of an order.",
        "The result.",
        None,
    ]


def test_the_union_of_results_is_the_output(schema: graphql.GraphQLSchema) -> None:
    assert graphql.print_type(schema.type_map["JobOutput"]) == "union JobOutput = Receipt"
    assert str(schema.type_map["Job"].fields["output"].type) == "JobOutput"  # type: ignore[attr-defined]


def test_without_results_there_is_no_output() -> None:
    assert "JobOutput" not in build(handlers={"sig.text": SHOWN["sig.text"][0]}).as_str()


def test_the_whole_schema_is_valid(schema: graphql.GraphQLSchema) -> None:
    assert graphql.validate_schema(schema) == []
    assert graphql.print_schema(graphql.build_schema(graphql.print_schema(schema))) == graphql.print_schema(schema)


def test_a_sequence_is_a_mutation_of_its_first_step() -> None:
    async def first(job: Any, *, a: int) -> int:
        """Count."""
        return a

    async def last(job: Any, value: int) -> signatures.Receipt:
        raise NotImplementedError

    made = sequence("sig.both", [first, last], mutation=True)
    assert made.mutation is not None
    assert (made.mutation.name, made.mutation.description) == ("sigBoth", "Count.")
    assert made.output is not None
    assert made.output.types == (signatures.Receipt,)


@dataclass
class Parcel:
    number: int


def parcel(job: Any) -> Parcel:
    raise NotImplementedError


def test_a_type_of_the_project_describes_a_result_of_its_name() -> None:
    @strawberry.type(name="Parcel")
    class Described:
        number: str

        @strawberry.field
        def link(self) -> str:
            return "https://"

    module = ModuleType("shop")
    module.Query, module.Parcel = Described, Described  # type: ignore[attr-defined]
    handlers = {"sig.parcel": handler("sig.parcel")(parcel)}
    with pytest.raises(
        SchemaError, match=r"the result of sig\.parcel: the type Parcel .* needs a classmethod is_type_of"
    ):
        build([module], handlers=handlers)
    Described.__strawberry_definition__.is_type_of = lambda obj, _info: isinstance(obj, Parcel)  # type: ignore[attr-defined]
    schema = build([module], handlers=handlers)._schema
    assert fields(schema, "Parcel") == "number: String! link: String!"
    assert graphql.print_type(schema.type_map["JobOutput"]) == "union JobOutput = Parcel"


def test_the_same_literal_may_be_in_many_places() -> None:
    @dataclass
    class Way:
        how: Literal["air", "sea"]

    def one(job: Any, *, way: Way) -> None: ...
    def two(job: Any, *, how: Literal["air", "sea"]) -> Way:
        raise NotImplementedError

    one.__annotations__["way"] = two.__annotations__["return"] = Way
    handlers: list[Handler] = [handler("sig.one", mutation=True)(one), handler("sig.two", mutation=True)(two)]
    schema = build(handlers={made.name: made for made in handlers})._schema
    assert [fields(schema, name) for name in ("WayHow", "SigTwoHow")] == ["air sea"] * 2
    assert fields(schema, "Way") == "how: WayHow!"


@dataclass
class Node:
    children: "list[Node]"


@dataclass
class Job:
    x: int


@dataclass
class Void: ...


@dataclass
class Page(Generic[T]):
    items: list[T]


class Sheet(BaseModel, Generic[T]):
    items: list[T]


Umlaut = Enum("Umlaut", {"GRÖSSE": "a"})
Truth = Enum("Truth", {"true": "a"})


class Nobody(Enum): ...


def union(job: Any, *, a: int | str) -> None: ...
def void(job: Any, *, a: Void) -> None: ...
def generic(job: Any, *, a: Page[int]) -> None: ...
def generic_model(job: Any, *, a: Sheet[int]) -> None: ...
def variable(job: Any, *, a: list[T]) -> None: ...
def none(job: Any, *, a: None) -> None: ...
def umlaut(job: Any, *, a: Umlaut) -> None: ...
def truth(job: Any, *, a: Truth) -> None: ...
def nobody(job: Any, *, a: Nobody) -> None: ...
def unnamed(job: Any, *, größe: int) -> None: ...  # noqa: PLC2401
def pair(job: Any, *, a: tuple[int, str]) -> None: ...
def mixed(job: Any, *, a: Literal["a", 1]) -> None: ...
def itself(job: Any, *, a: Node) -> None: ...
def inner(job: Any, *, a: list[dict[str, int] | list[int]]) -> None: ...
def taken(job: Any, *, run_at: str) -> None: ...
def twice(job: Any, *, a_b: int, aB: int) -> None: ...  # noqa: N803


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (union, r"sig\.wrong\.a: GraphQL has no input that is one of several types \(int \| str\); choose one, or Any"),
        (pair, r"sig\.wrong\.a: GraphQL has no tuple of different types .*; use a dataclass"),
        (mixed, r"sig\.wrong\.a: GraphQL has no values of several types .*; use texts alone"),
        (itself, r"sig\.wrong\.a\.children: Node holds itself; declare that field as JSON"),
        (inner, r"sig\.wrong\.a: GraphQL has no input that is one of several types"),
        (taken, r"sig\.wrong\.run_at: every mutation has a field runAt; rename the parameter"),
        (void, r"sig\.wrong\.a: GraphQL has no types without fields \(Void\); leave it out, or give it a field"),
        (
            generic,
            r"sig\.wrong\.a: GraphQL has no generic types \(.*Page\[int\]\); use a pydantic model, and a subclass",
        ),
        (
            generic_model,
            r"sig\.wrong\.a: .* no name of a GraphQL type; subclass it, as in `class IntSheet\(Sheet\[int\]\)",
        ),
        (variable, r"sig\.wrong\.a: T is a type variable; declare a type"),
        (none, r"sig\.wrong\.a: GraphQL has no type for None alone; leave it out"),
        (umlaut, r"sig\.wrong\.a: Umlaut\.GRÖSSE is no name of a GraphQL value; rename it"),
        (truth, r"sig\.wrong\.a: Truth\.true is no name of a GraphQL value"),
        (nobody, r"sig\.wrong\.a: Nobody has no members; GraphQL needs one"),
        (unnamed, r"sig\.wrong: 'größe' is no name of a GraphQL field; use letters, digits and underscores"),
        (twice, r"sig\.wrong: a_b and aB would both be aB; rename one"),
    ],
)
def test_a_type_that_cannot_be_shown_is_refused_with_the_place_and_the_fix(
    function: Callable[..., Any], message: str
) -> None:
    made = handler("sig.wrong", mutation=True)(function)
    with pytest.raises(SchemaError, match=message):
        mutation_of(made, Types())


@pytest.mark.parametrize("alias", dict.fromkeys([TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType)]))
def test_an_alias_is_the_type_that_it_names(alias: Any) -> None:
    """`type X = ...` makes one of typing, which is another class than that of typing_extensions."""

    def one(job: Any, *, a: Any, b: Any) -> Any: ...

    one.__annotations__ |= {
        "a": alias("Parcels", list[Parcel]),
        "b": alias("Note", str | None),
        "return": alias("Found", Parcel | signatures.Receipt) | None,
    }
    made = handler("sig.one", mutation=True)(one)
    schema = build(handlers={"sig.one": made})._schema
    assert fields(schema, "SigOneInput") == f"a: [ParcelInput!]! b: String {KEY} {RUN_AT}"
    assert graphql.print_type(schema.type_map["JobOutput"]) == "union JobOutput = Parcel | Receipt"


def test_names_that_collide_are_refused() -> None:
    def one(job: Any, *, a: int) -> None: ...
    def other(job: Any, *, a: Job) -> None: ...
    def answer(job: Any) -> Job:
        raise NotImplementedError

    first, second = handler("sig.one", mutation="same")(one), handler("sig.two", mutation="same")(other)
    with pytest.raises(SchemaError, match=r"sig\.two: sig\.one is the mutation same already; .*mutation=\"same2\""):
        build(handlers={"sig.one": first, "sig.two": second})
    with pytest.raises(SchemaError, match=r"sig\.one: the contract has a mutation cancelJob; give it another name"):
        build(handlers={"sig.one": handler("sig.one", mutation="cancelJob")(other)})
    with pytest.raises(SchemaError, match=r"the result of sig\.one: the schema has another type named Job; rename"):
        build(handlers={"sig.one": handler("sig.one")(answer)})
    answer.__annotations__["return"] = make_dataclass("JobOutput", [("x", int)])
    with pytest.raises(SchemaError, match=r"the result of sig\.one: its type would be named JobOutput"):
        build(handlers={"sig.one": handler("sig.one")(answer)})
    answer.__annotations__["return"] = make_dataclass("Twice", [("a_b", int), ("aB", int)])
    with pytest.raises(SchemaError, match=r"the result of sig\.one\.Twice: a_b and aB would both be aB; rename one"):
        build(handlers={"sig.one": handler("sig.one")(answer)})


def test_a_row_of_a_type_for_type_checkers_alone_is_refused_and_its_transaction_s_type_is_not_needed() -> None:
    def beside(tx: "OnlyForTypeCheckers", *, a: int) -> "Parcel": ...  # type: ignore[empty-body]
    def one(job: Any, *, a: int) -> None: ...

    made = handler("sig.one", mutation=Mutation(beside=beside))(one)
    assert fields(build(handlers={"sig.one": made})._schema, "SigOnePayload").startswith("job: Job parcel: Parcel ")
    beside.__annotations__["return"] = "OnlyForTypeCheckers"
    with pytest.raises(
        SchemaError, match=r"sig\.one: the row of beside: name 'OnlyForTypeCheckers' .*; import its type in"
    ):
        build(handlers={"sig.one": made})


def test_a_refusal_names_the_file() -> None:
    line = union.__code__.co_firstlineno
    with pytest.raises(
        SchemaError, match=rf"sig\.wrong\.a: .*\(tests/unit/graphql/test_signatures\.py, line {line}\)$"
    ):
        build(handlers={"sig.wrong": handler("sig.wrong", mutation=True)(union)})


@pytest.mark.parametrize(
    ("mutation", "message"),
    [
        (lambda: "Confirm", "sig.one: 'Confirm' is no name of a mutation"),
        (lambda: "a-b", "is no name of a mutation"),
        (lambda: Mutation(roles="shop"), "roles must be a list of names"),
        (lambda: Mutation(read=len), "give beside, too"),
        (lambda: Mutation(beside=lambda: None), "beside must be a plain function of the transaction"),
        (lambda: Mutation(beside=lambda _tx, _a: None), "_a of beside must be keyword-only"),
        (lambda: Mutation(beside=lambda _tx, *, _b: None), "beside asks for _b, which is not a parameter"),
    ],
)
def test_a_wrong_declaration_is_refused_where_it_is_written(mutation: Callable[[], Any], message: str) -> None:
    def one(job: Any, *, a: int) -> None: ...

    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        handler("sig.one", mutation=mutation())(one)


def test_the_client_s_package_knows_each_scalar(schema: graphql.GraphQLSchema) -> None:
    """By `strictScalars` graphql-codegen refuses a schema with another one."""
    text = (ROOT / "clients" / "typescript" / "src" / "scalars.ts").read_text("utf-8")
    known = set(re.findall(r"^  (\w+): ", text, re.MULTILINE))
    own = {name for name, one in schema.type_map.items() if isinstance(one, graphql.GraphQLScalarType)}
    assert own - set(graphql.specified_scalar_types) <= known
