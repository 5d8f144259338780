"""What the schema is."""

from pathlib import Path
from types import ModuleType

import pytest
import strawberry

from onward.graphql.base import SchemaError
from onward.graphql.schema import build
from tests import application

SDL = Path(__file__).parents[3] / "gql" / "schema.graphql"


def test_the_schema_is_the_one_that_is_written_down() -> None:
    """Whoever changes it on purpose: `./onward schema > gql/schema.graphql`."""
    assert application.schema().as_str().strip() == SDL.read_text().strip()


def test_everything_of_the_schema_is_described_or_speaks_for_itself() -> None:
    schema = build()
    for name in ("Job", "JobStatus", "UserError", "JobFilter", "JobConnection", "System", "Viewer"):
        found = schema.get_type_by_name(name)
        assert found is not None
        assert found.description


def test_further_modules_add_to_the_root_types() -> None:
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


def test_a_further_module_cannot_take_a_name_of_the_contract() -> None:
    module = ModuleType("shop")

    @strawberry.type
    class Query:
        @strawberry.field
        def viewer(self) -> int:
            return 3

    module.Query = Query  # type: ignore[attr-defined]
    with pytest.raises(SchemaError, match=r"shop\.Query has a field viewer"):
        build([module])


def test_a_further_module_that_brings_nothing_is_refused() -> None:
    with pytest.raises(SchemaError, match="shop exports none of Query, Mutation, Subscription"):
        build([ModuleType("shop")])


def test_a_further_modules_types_must_be_strawberrys() -> None:
    module = ModuleType("shop")
    module.Query = int  # type: ignore[attr-defined]
    with pytest.raises(SchemaError, match="@strawberry"):
        build([module])
