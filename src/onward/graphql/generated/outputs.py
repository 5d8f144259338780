"""`Job.output`: the union of the result types that handlers declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple, Union

import strawberry
from pydantic import ValidationError
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from onward.graphql.base import HandlerSchemaError, public_error
from onward.graphql.context import Info
from onward.graphql.generated.files import naming_file
from onward.graphql.generated.schema_type import Convert, SchemaType
from onward.graphql.generated.types import Types
from onward.graphql.resolvers import query
from onward.graphql.types.job import Job
from onward.graphql.value_resolver import DIRECT, ValueResolver
from onward.handlers.base import Handler
from onward.handlers.output import Output
from onward.jobs import model

NAME = "JobOutput"
DESCRIPTION = (
    "The result as the type that the handler declares; null where it declares none, and until the job has succeeded."
)


class Answer(NamedTuple):
    """The result type of one handler, and the conversion of its values to those of the schema, by class."""

    output: Output
    convert: Mapping[type, Convert | None]


class JobOutput:
    """The field `Job.output` of one schema."""

    def __init__(self, handlers: Iterable[Handler], types: Types) -> None:
        types.names.claim(NAME, JobOutput, "Job.output")
        self._answers: dict[str, Answer] = {}
        shown: dict[Any, None] = {}
        for handler in handlers:
            if handler.output is not None and handler.output.types:
                with naming_file(handler):
                    found = {type_: _type(type_, handler, types) for type_ in handler.output.types}
                self._answers[handler.name] = Answer(
                    handler.output, {type_: one.convert for type_, one in found.items()}
                )
                shown |= dict.fromkeys(one.annotation for one in found.values())
        self._members = tuple(shown)

    def fields(self, definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        """The fields of the type: of Job with `output` behind `result`, if any handler declares one."""
        fields = definition.fields
        if definition.origin is not Job or not self._members:
            return fields
        members: Any = self._members
        union = Annotated[Union[members], strawberry.union(NAME)] | None  # noqa: UP007 - of a tuple
        made = strawberry.field(
            resolver=self._resolver(),
            graphql_type=union,
            description=DESCRIPTION,
            metadata={DIRECT: ValueResolver(self.read)},
        )
        made.python_name = made.name = "output"
        made.origin = Job
        index = next(index for index, field in enumerate(fields) if field.python_name == "result")
        return [*fields[: index + 1], made, *fields[index + 1 :]]

    def _resolver(self) -> Any:
        async def output(info: Info, root: strawberry.Parent[model.Job]) -> Any:  # noqa: ARG001
            return self.read(root)

        return query(output)

    def read(self, job: model.Job) -> Any:
        """The result in its type. Raises GraphQLError for one that was stored before the handler had this type."""
        answer = self._answers.get(job.handler)
        if answer is None or job.result is None:
            return None
        try:
            value = answer.output.read(job.result)
        except ValidationError:
            words = f"The result of this job is no {answer.output.name}, which its handler declares now. Read `result`."
            raise public_error(words, "OUTPUT_INVALID") from None
        convert = answer.convert[answer.output.class_of(value)]
        return value if convert is None else convert(value)


def _type(type_: type, handler: Handler, types: Types) -> SchemaType:
    found, _ = types.of(type_, f"the result of {handler.name}", "", output=True)
    if found.annotation.__strawberry_definition__.is_type_of is None:
        raise HandlerSchemaError(
            f"the result of {handler.name}: the type {type_.__name__} in your gql module describes it, and needs a"
            " classmethod is_type_of(cls, obj, info), by which the union JobOutput knows its values"
        )
    return found
