"""What becomes of a root field's value, worked out once for a document where that takes plain attributes alone.

graphql-core walks a selection anew for each value. Where all fields below a root field are plain attributes, that walk
is always the same, and is kept here as a function. It decides nothing: where anything is out of the ordinary (an error,
a null where there may be none, an awaitable), graphql-core completes the same value once more, and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    Executor,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLLeafType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from strawberry.execution import optimized_is_awaitable

Shape = Callable[[Any, GraphQLResolveInfo[Any]], Any]
Shapes = dict[str, Shape]
NO_VARIABLES = VariableValues({}, {})


class Root(NamedTuple):
    """The field of an operation that has one alone, as graphql-core would find it each time."""

    type: GraphQLObjectType
    name: str
    nodes: list[FieldDetails]


class _OutOfTheOrdinary(Exception):
    """This value is graphql-core's to complete."""


class _Unshapely(Exception):
    """Something below this root field is more than an attribute."""


class Shaper:
    """Works out the shapes of one valid document without directives: what those do may change with the variables."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self.fields = 0  # looked at, fragments written out
        self._schema = schema
        self._fragments = {
            definition.name.value: FragmentDetails(definition)
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }

    def shapes(self, operation: OperationDefinitionNode) -> tuple[Shapes, Root | None]:
        """Those of the operation's root fields that have one, by their names in the response; and its only field."""
        root = self._schema.get_root_type(operation.operation)
        assert root is not None  # noqa: S101 - the operation is valid
        found = {}
        fields = collect_fields(self._schema, self._fragments, NO_VARIABLES, root, operation)[0]
        for name, nodes in fields.items():
            try:
                found[name] = self._shape(self._field(root, nodes).type, nodes, operation)
            except _Unshapely:
                continue
        return found, Root(root, *next(iter(fields.items()))) if len(fields) == 1 else None

    def _field(self, parent: GraphQLObjectType, nodes: list[FieldDetails]) -> GraphQLField:
        field = self._schema.get_field(parent, nodes[0].node.name.value)
        assert field is not None  # noqa: S101 - the operation is valid
        return field

    def _shape(self, type_: GraphQLOutputType, nodes: list[FieldDetails], operation: OperationDefinitionNode) -> Shape:
        """Raises _Unshapely."""
        self.fields += 1
        required = is_non_null_type(type_)
        if is_non_null_type(type_):
            type_ = type_.of_type
        if is_leaf_type(type_):
            return _ordinary(_leaf(type_), required=required)
        if is_list_type(type_):
            return _ordinary(_list(self._shape(type_.of_type, nodes, operation)), required=required)
        if is_object_type(type_):
            return _ordinary(self._object(type_, nodes, operation), required=required)
        raise _Unshapely

    def _object(self, type_: GraphQLObjectType, nodes: list[FieldDetails], operation: OperationDefinitionNode) -> Shape:
        fields: list[tuple[str, str, Shape]] = []
        collected = collect_subfields(self._schema, self._fragments, NO_VARIABLES, operation, type_, nodes)
        for name, inner in collected.grouped_field_set.items():
            if inner[0].node.name.value == "__typename":
                fields.append((name, "__class__", lambda _value, _info: type_.name))
                continue
            field = self._field(type_, inner)
            fields.append((name, _attribute(field), self._shape(field.type, inner, operation)))

        is_type_of = type_.is_type_of

        def complete(value: Any, info: GraphQLResolveInfo[Any]) -> Any:
            if is_type_of is not None and is_type_of(value, info) is not True:
                raise _OutOfTheOrdinary
            return {name: shape(getattr(value, attribute), info) for name, attribute, shape in fields}

        return complete


def _attribute(field: GraphQLField) -> str:
    """The attribute that the field is. Raises _Unshapely for one with a resolver, arguments or extensions."""
    definition = field.extensions.get("strawberry-definition")
    if (
        definition is None
        or field.args
        or not definition.is_basic_field
        or not getattr(field.resolve, "_is_default", False)
        or definition.default_resolver is not getattr
    ):
        raise _Unshapely
    name: str = definition.python_name
    return name


def _ordinary(complete: Shape, *, required: bool) -> Shape:
    def shape(value: Any, info: GraphQLResolveInfo[Any]) -> Any:
        if value is None or value is Undefined:
            if required:
                raise _OutOfTheOrdinary
            return None
        if isinstance(value, Exception) or optimized_is_awaitable(value):
            raise _OutOfTheOrdinary
        return complete(value, info)

    return shape


def _leaf(type_: GraphQLLeafType) -> Shape:
    def complete(value: Any, _info: GraphQLResolveInfo[Any]) -> Any:
        coerced = type_.coerce_output_value(value)
        if coerced is None or coerced is Undefined:
            raise _OutOfTheOrdinary
        return coerced

    return complete


def _list(item: Shape) -> Shape:
    def complete(value: Any, info: GraphQLResolveInfo[Any]) -> Any:
        if type(value) is not list and type(value) is not tuple:
            raise _OutOfTheOrdinary
        return [item(each, info) for each in value]

    return complete


class ShapedExecutor(Executor[Any]):
    """graphql-core's, which leaves values of root fields to their shapes as long as those will have them.

    A root field that is alone is executed by itself: what graphql-core has around several, and finds out about them
    for each request, is left out.
    """

    def __init__(self, *given: Any, shapes: Shapes, alone: Root | None = None, **further: Any) -> None:
        super().__init__(*given, **further)
        self._shapes = shapes
        self._alone = alone

    def execute_operation(self, serially: bool | None = None) -> Any:  # noqa: FBT001 - graphql-core's signature
        return super().execute_operation(serially) if self._alone is None else self._execute(self._alone)

    async def _execute(self, field: Root) -> Any:
        try:
            path = Path(None, field.name, field.type.name)
            value = self.execute_field(field.type, self.root_value, field.nodes, path, None)
            if self.is_awaitable(value):
                value = await value
            return self.build_response({} if value is Undefined else {field.name: value})
        except GraphQLError as error:
            self.collected_errors.add(error, None)
            return self.build_response(None)

    def complete_value(  # noqa: PLR0917 - graphql-core's signature
        self,
        return_type: GraphQLOutputType,
        field_details_list: list[FieldDetails],
        info: GraphQLResolveInfo[Any],
        path: Any,
        result: Any,
        position_context: Any,
    ) -> Any:
        if path.prev is None and (shape := self._shapes.get(path.key)) is not None:
            try:
                return shape(result, info)
            except Exception:  # noqa: BLE001, S110 - graphql-core meets it too, and says what is wrong
                pass
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)
