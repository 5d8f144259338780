"""The schema."""

from pathlib import Path
from types import ModuleType

import pytest
import strawberry

from onward.graphql.base import SchemaError
from onward.graphql.schema import build
from tests import application

SDL = Path(__file__).parents[3] / "gql" / "schema.graphql"


def test_the_schema_equals_the_committed_one() -> None:
    """`./onward schema > gql/schema.graphql` writes it."""
    assert application.schema().as_str().strip() == SDL.read_text().strip()


def test_every_part_of_the_schema_is_described_or_self_explanatory() -> None:
    schema = build()
    for name in ("Job", "JobStatus", "UserError", "JobFilter", "JobConnection", "System", "Viewer"):
        found = schema.get_type_by_name(name)
        assert found is not None
        assert found.description


def test_modules_of_a_project_add_to_the_root_types() -> None:
    module = ModuleType("shop")

    @strawberry.type
    class Query:
        @strawberry.field
        def price(self) -> int:
            return 3

    module.Query = Query  # type: ignore[attr-defined]
    schema = build([module])
    assert schema.execute_sync("{ price }").data == {"price": 3}
    assert "retryJobs" in schema.as_str()
    assert "processItem" not in schema.as_str()


def test_a_module_of_a_project_cannot_redefine_a_name() -> None:
    module = ModuleType("shop")

    @strawberry.type
    class Query:
        @strawberry.field
        def viewer(self) -> int:
            return 3

    module.Query = Query  # type: ignore[attr-defined]
    with pytest.raises(SchemaError, match=r"shop\.Query has a field viewer"):
        build([module])


def test_a_module_without_root_types_is_refused() -> None:
    with pytest.raises(SchemaError, match="shop exports none of Query, Mutation, Subscription"):
        build([ModuleType("shop")])


def test_the_types_of_a_module_must_be_strawberry_types() -> None:
    module = ModuleType("shop")
    module.Query = int  # type: ignore[attr-defined]
    with pytest.raises(SchemaError, match="@strawberry"):
        build([module])
