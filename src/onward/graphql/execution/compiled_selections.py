"""Selections of a document, compiled once instead of being walked by graphql-core for each value.

Where all fields below a root field are plain attributes, or made at once of the parent's value (`ValueResolver`,
`InfoResolver`), the walk is always the same and is kept as a function, the field's compiled selection. It decides
nothing: for anything unusual (an error, a null where none is allowed, an awaitable) graphql-core completes the same
value again and reports what is wrong.

`completions` completes the values of each kind of type.

The file is long because it stands in for one class of graphql-core's, method by method.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    Executor,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLResolveInfoHelpers,
    GraphQLSchema,
    GraphQLUnionType,
    OperationDefinitionNode,
    Undefined,
    default_field_resolver,
    default_type_resolver,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    is_union_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource
from graphql.pyutils import Path
from graphql.utilities import coerce_input_value
from strawberry.execution import optimized_is_awaitable

from onward.cancellation import TaskCancelled, cancels_as_errors
from onward.graphql.execution.completions import (
    MAX_UNSLICED_ITEMS,
    CompiledSelection,
    ListTooLong,
    Selected,
    complete_leaf,
    complete_list,
    complete_nullable,
    complete_object,
)
from onward.graphql.meter import Meter
from onward.graphql.value_resolver import InfoResolver, ValueResolver

NO_VARIABLES = VariableValues({}, {})
PLANNED = {"is_async_iterable", "is_awaitable", "max_coercion_errors"}  # further arguments that may go with a plan
CompiledSelections = dict[str, CompiledSelection]


class Root(NamedTuple):
    """The only field of an operation."""

    type: GraphQLObjectType
    name: str
    nodes: list[FieldDetails]


class Plan(NamedTuple):
    """The parts of an operation that are the same for each of its requests."""

    operation: OperationDefinitionNode
    definitions: dict[str, FragmentDefinitionNode]
    fragments: dict[str, FragmentDetails]
    signatures: tuple[GraphQLVariableSignature, ...]
    compiled: CompiledSelections
    alone: Root | None

    def variables(self, given: Mapping[str, Any]) -> VariableValues | None:
        """Return the coerced variables if each has a valid value; else None, and graphql-core reports the error."""
        sources, coerced = {}, {}
        try:
            for signature in self.signatures:
                value = given.get(signature.name, Undefined)
                if value is Undefined:
                    return None
                coerced[signature.name] = coerce_input_value(value, signature.type)
                if coerced[signature.name] is Undefined:
                    return None
                sources[signature.name] = VariableValueSource(signature, value)
        except RecursionError:
            return None
        return VariableValues(sources, coerced)


class Deadline(NamedTuple):
    """The time by which the fields of a mutation have to answer, of the event loop's clock, and the error of others."""

    at: float
    error: Callable[[], GraphQLError]


class _NotCompilable(Exception):
    """A field below this root field is more than an attribute."""


class Planner:
    """Plans the operations of one valid document without directives, whose effect may change with the variables."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self.fields = 0  # visited, with fragments spread out
        self._schema = schema
        # The definitions of the document's fragments, by name.
        self.definitions = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._fragments = {name: FragmentDetails(definition) for name, definition in self.definitions.items()}

    def plan(self, operation: OperationDefinitionNode) -> Plan:
        root = self._schema.get_root_type(operation.operation)
        assert root is not None  # noqa: S101 - the operation is valid
        compiled = {}
        fields = collect_fields(self._schema, self._fragments, NO_VARIABLES, root, operation)[0]
        for name, nodes in fields.items():
            try:
                compiled[name] = self._compile(self._field(root, nodes).type, nodes, operation)
            except _NotCompilable:
                continue
        signatures = [get_variable_signature(self._schema, node) for node in operation.variable_definitions or ()]
        return Plan(
            operation,
            self.definitions,
            self._fragments,
            tuple(signature for signature in signatures if not isinstance(signature, GraphQLError)),
            compiled,
            Root(root, *next(iter(fields.items()))) if len(fields) == 1 else None,
        )

    def _field(self, parent: GraphQLObjectType, nodes: list[FieldDetails]) -> GraphQLField:
        field = self._schema.get_field(parent, nodes[0].node.name.value)
        assert field is not None  # noqa: S101 - the operation is valid
        return field

    def _compile(
        self,
        type_: GraphQLOutputType,
        nodes: list[FieldDetails],
        operation: OperationDefinitionNode,
        *,
        in_list: bool = False,
    ) -> CompiledSelection:
        """Compile the selection of a field. Raises _NotCompilable."""
        self.fields += 1
        required = is_non_null_type(type_)
        if is_non_null_type(type_):
            type_ = type_.of_type
        if is_leaf_type(type_):
            return complete_nullable(CompiledSelection(complete_leaf(type_, in_list=in_list)), required=required)
        if is_list_type(type_):
            item = self._compile(type_.of_type, nodes, operation, in_list=True)
            of_leaves = is_leaf_type(get_nullable_type(type_.of_type))
            return complete_nullable(complete_list(item, of_leaves=of_leaves), required=required)
        if is_object_type(type_):
            return complete_nullable(self._object(type_, nodes, operation), required=required)
        if is_union_type(type_):
            return complete_nullable(self._union(type_, nodes, operation), required=required)
        raise _NotCompilable

    def _union(
        self, type_: GraphQLUnionType, nodes: list[FieldDetails], operation: OperationDefinitionNode
    ) -> CompiledSelection:
        resolve = type_.resolve_type
        if resolve is None:
            raise _NotCompilable
        members = {member.name: self._object(member, nodes, operation) for member in type_.types}

        def complete(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
            return members[resolve(value, info, type_)].complete(value, info, meter)

        async def paced(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
            member = members[resolve(value, info, type_)]
            if member.paced is None:
                return member.complete(value, info, meter)
            return await member.paced(value, info, meter)

        sliced = any(member.paced is not None for member in members.values())
        return CompiledSelection(complete, paced if sliced else None)

    def _object(
        self, type_: GraphQLObjectType, nodes: list[FieldDetails], operation: OperationDefinitionNode
    ) -> CompiledSelection:
        fields: list[Selected] = []
        collected = collect_subfields(self._schema, self._fragments, NO_VARIABLES, operation, type_, nodes)
        for name, inner in collected.grouped_field_set.items():
            if inner[0].node.name.value == "__typename":
                typename = CompiledSelection(lambda _value, _info, _meter: type_.name)
                fields.append(Selected(name, "__class__", type, typename))
                continue
            field = self._field(type_, inner)
            selection = self._compile(field.type, inner, operation)
            type_of_value = get_nullable_type(field.type)
            plain = type_of_value if is_leaf_type(type_of_value) else None
            if isinstance(field.resolve, InfoResolver) and selection.paced is None:
                fields.append(Selected(name, None, _itself, _by_info(field.resolve, selection)))
            elif isinstance(field.resolve, ValueResolver):
                fields.append(Selected(name, None, field.resolve.read, selection, plain))
            else:
                attribute = _attribute(field)
                fields.append(Selected(name, attribute, attrgetter(attribute), selection, plain))
        return complete_object(type_, fields)


def _itself(value: Any) -> Any:
    return value


def _by_info(resolver: InfoResolver, inner: CompiledSelection) -> CompiledSelection:
    """Complete what the resolver makes of the parent."""
    read, within = resolver.read, inner.complete
    return CompiledSelection(lambda value, info, meter: within(read(value, info), info, meter))


def _attribute(field: GraphQLField) -> str:
    """Return the attribute that a field shows. Raises _NotCompilable for resolvers, arguments or extensions."""
    definition = field.extensions.get("strawberry-definition")
    if (
        definition is None
        or field.args
        or not definition.is_basic_field
        or not getattr(field.resolve, "_is_default", False)
        or definition.default_resolver is not getattr
    ):
        raise _NotCompilable
    return str(definition.python_name)


class CompiledExecutor(Executor[Any]):
    """graphql-core's executor with a plan; compiled selections complete the root fields whose values they cover.

    A root field that is alone is executed by itself: what graphql-core has around several, and finds out about them
    for each request, is left out.
    """

    def __init__(self, *given: Any, plan: Plan | None = None, **further: Any) -> None:
        super().__init__(*given, **further)
        self._compiled = plan.compiled if plan else {}
        self._alone = plan.alone if plan else None
        self._meter: Meter = getattr(self.context_value, "meter", None) or Meter()
        self.deadline: Deadline | None = None

    @property
    def is_alone(self) -> bool:
        """True if the operation has a single root field."""
        return self._alone is not None

    @property
    def async_helpers(self) -> GraphQLResolveInfoHelpers:
        return GraphQLResolveInfoHelpers(self.gather_async_work, self.track_async_work)

    @async_helpers.setter
    def async_helpers(self, helpers: GraphQLResolveInfoHelpers) -> None:
        """Keep nothing: the helpers refer to the executor, and the cycle would wait for the garbage collector."""

    @classmethod
    def build(  # noqa: PLR0917 - graphql-core's signature
        cls,
        schema: GraphQLSchema,
        document: DocumentNode,
        root_value: Any = None,
        context_value: Any = None,
        raw_variable_values: dict[str, Any] | None = None,
        operation_name: str | None = None,
        *given: Any,
        plan: Plan | None = None,
        hide_suggestions: bool = False,
        **further: Any,
    ) -> list[GraphQLError] | Executor[Any]:
        """Build the executor, or return the errors of the variables.

        Any further argument besides `PLANNED` changes how fields are executed, so the plan is left out.
        """
        if given or not PLANNED.issuperset(further):
            plan = None
        values = plan.variables(raw_variable_values or {}) if plan else None
        if plan is None or values is None:
            further["hide_suggestions"] = hide_suggestions
            if not given:
                further.setdefault("is_awaitable", optimized_is_awaitable)
            return super().build(
                schema,
                document,
                root_value,
                context_value,
                raw_variable_values,
                operation_name,
                *given,
                plan=plan,
                **further,
            )
        return cls(
            schema,
            plan.definitions,
            plan.fragments,
            root_value,
            context_value,
            plan.operation,
            values,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            is_awaitable=further.get("is_awaitable", optimized_is_awaitable),
            is_async_iterable=further.get("is_async_iterable"),
            hide_suggestions=hide_suggestions,
            plan=plan,
        )

    def execute_operation(self, serially: bool | None = None) -> Any:  # noqa: FBT001 - graphql-core's signature
        field = self._alone
        if field is None:
            return super().execute_operation(serially)
        path = Path(None, field.name, field.type.name)
        try:
            value = self.execute_field(field.type, self.root_value, field.nodes, path, None)
        except GraphQLError as error:
            return self._nothing(error)
        return self._later(field, value) if self.is_awaitable(value) else self._response(field, value)

    def execute_fields_serially(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        grouped_field_set: Any,
        position_context: Any,
    ) -> Any:
        """Execute the fields of a mutation; with a deadline, those that are late or let a cancellation out are null."""
        if self.deadline is None:
            return super().execute_fields_serially(parent_type, source_value, path, grouped_field_set, position_context)
        return self._in_time(self.deadline, parent_type, source_value, path, grouped_field_set)

    async def _in_time(
        self, deadline: Deadline, parent: GraphQLObjectType, source: Any, path: Path | None, fields: Any
    ) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for name, nodes in fields.items():
            place = Path(path, name, parent.name)
            try:
                with cancels_as_errors():
                    async with asyncio.timeout_at(deadline.at):
                        if asyncio.get_running_loop().time() >= deadline.at:
                            raise TimeoutError  # noqa: TRY301 - as of a field that has begun
                        value = self.execute_field(parent, source, nodes, place, None)
                        if self.is_awaitable(value):
                            value = await value
            except (TimeoutError, TaskCancelled) as error:
                definition = self.schema.get_field(parent, nodes[0].node.name.value)
                if definition is None:
                    continue
                reason = error if isinstance(error, TaskCancelled) else deadline.error()
                self.handle_field_error(reason, definition.type, nodes, place)
                value = None
            if value is not Undefined:
                results[name] = value
        return results

    async def _later(self, field: Root, value: Any) -> Any:
        try:
            return self._response(field, await value)
        except GraphQLError as error:
            return self._nothing(error)

    def _response(self, field: Root, value: Any) -> Any:
        return self.build_response({} if value is Undefined else {field.name: value})

    def _nothing(self, error: GraphQLError) -> Any:
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
        given = return_type, field_details_list, info, path, result, position_context
        if path.prev is None and (compiled := self._compiled.get(path.key)) is not None:
            meter = self._meter
            before = meter.values, meter.bytes
            try:
                return compiled.complete(result, info, meter)
            except ListTooLong:
                meter.values, meter.bytes = before
                return self._in_slices(compiled, given)
            except Exception:  # noqa: BLE001 - graphql-core meets it too, and says what is wrong
                meter.go_back(before)
        if is_list_type(return_type):
            given = return_type, field_details_list, info, path, self._sliced(result), position_context
        completed = super().complete_value(*given)
        if is_leaf_type(return_type):
            self._meter.count_value(completed)
        return completed

    async def _in_slices(self, compiled: CompiledSelection, given: tuple[Any, ...]) -> Any:
        """Complete the value that `complete_value` was given."""
        _, _, info, _, result, _ = given
        meter = self._meter
        before = meter.values, meter.bytes
        assert compiled.paced is not None  # noqa: S101 - a list was too long, so there is one
        try:
            return await compiled.paced(result, info, meter)
        except Exception:  # noqa: BLE001 - as above
            meter.go_back(before)
        completed = super().complete_value(*given)
        return await completed if self.is_awaitable(completed) else completed

    def _sliced(self, items: Any) -> Any:
        """Complete the items of a list, in slices where there are many, with a turn of the loop between them."""
        self._meter.check()
        return self._items(items) if isinstance(items, list | tuple) and len(items) > MAX_UNSLICED_ITEMS else items

    async def _items(self, items: Sequence[Any]) -> AsyncIterator[Any]:
        meter = self._meter
        for item in items:
            yield item
            meter.check()
            if meter.is_due():
                await meter.rest()
