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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    ExecutionResult,
    Executor,
    FragmentDefinitionNode,
    GraphQLBoolean,
    GraphQLError,
    GraphQLField,
    GraphQLID,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLResolveInfoHelpers,
    GraphQLSchema,
    GraphQLString,
    OperationDefinitionNode,
    Undefined,
    default_field_resolver,
    default_type_resolver,
    get_argument_values,
    get_nullable_type,
    is_input_object_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    is_union_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.executor import CollectedErrors
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource
from graphql.pyutils import Path, RefMap
from graphql.pyutils.is_awaitable import is_async_iterable
from graphql.utilities import coerce_input_value
from strawberry.execution import optimized_is_awaitable

from onward.cancellation import TaskCancelled, cancels_as_errors
from onward.graphql.execution.completions import (
    MAX_UNSLICED_ITEMS,
    CompiledSelection,
    Selected,
    complete_leaf,
    complete_list,
    complete_object,
    complete_union,
)
from onward.graphql.meter import Meter
from onward.graphql.value_resolver import InfoResolver, ValueResolver

NO_VARIABLES = VariableValues({}, {})
# Further arguments that may go with a plan.
PLANNED = {"hide_suggestions", "is_async_iterable", "is_awaitable", "max_coercion_errors"}
CompiledSelections = dict[str, CompiledSelection]
Coerce = Callable[[Any], Any]
Details = list[FieldDetails]
Signatures = list[GraphQLVariableSignature]
OWN: dict[Any, type] = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}  # values that are their coercion
INFO: Any = GraphQLResolveInfo
OPTIMIZED: Any = optimized_is_awaitable
DEFAULTS = (default_field_resolver, default_type_resolver, default_field_resolver)


class Root(NamedTuple):
    """The only field of an operation."""

    name: str
    definition: GraphQLField
    details: Details
    path: Path
    info: tuple[Any, ...]  # the first parts of the resolver's
    variables: dict[str, str] | None  # of the arguments, where each is the value of a variable


class Plan(NamedTuple):
    """The parts of an operation that are the same for each of its requests."""

    attributes: dict[str, Any]  # of graphql-core's executor
    signatures: list[tuple[GraphQLVariableSignature, Coerce]]
    compiled: CompiledSelections
    alone: Root | None

    def variables(self, given: Mapping[str, Any]) -> VariableValues | None:
        """Return the coerced variables if each has a valid value; else None, and graphql-core reports the error."""
        sources, coerced = {}, {}
        try:
            for signature, coerce in self.signatures:
                name = signature.name
                value = given.get(name, Undefined)
                coerced[name] = Undefined if value is Undefined else coerce(value)
                sources[name] = VariableValueSource(signature, value)
        except RecursionError:
            return None
        return None if Undefined in coerced.values() else VariableValues(sources, coerced)


def coercion(type_: GraphQLInputType) -> Coerce:
    """Return a function that coerces values as graphql-core does, and quickly an input object of texts and booleans."""
    coerce = partial(coerce_input_value, type_=type_)
    plain = get_nullable_type(type_)
    if not is_input_object_type(plain) or plain.is_one_of or plain.out_type is not GraphQLInputObjectType.out_type:
        return coerce
    fields = [
        (
            name,
            one.out_name or name,
            OWN.get(get_nullable_type(one.type)),
            is_non_null_type(one.type) or one.default is not None or one.default_value is not Undefined,
        )
        for name, one in plain.fields.items()
    ]

    def coerce_object(value: Any) -> Any:
        if type(value) is not dict:
            return coerce(value)
        made = {}
        for name, out_name, cls, is_needed in fields:
            found = value.get(name, Undefined)
            if type(found) is cls:
                made[out_name] = found
            elif is_needed or found is not Undefined:
                return coerce(value)
        return made if len(made) == len(value) else coerce(value)

    return coerce_object


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
        self._operation = operation
        compiled = {}
        fields = collect_fields(self._schema, self._fragments, NO_VARIABLES, root, operation)[0]
        for name, details in fields.items():
            try:
                compiled[name] = self._compile(self._field(root, details).type, details)
            except _NotCompilable:
                continue
        executor: Executor[Any] = Executor(
            self._schema, self.definitions, self._fragments, None, None, operation, NO_VARIABLES, *DEFAULTS
        )
        del executor.async_helpers  # they refer to the executor
        found = (get_variable_signature(self._schema, node) for node in operation.variable_definitions or ())
        signatures = [one for one in found if not isinstance(one, GraphQLError)]
        return Plan(
            vars(executor),
            [(one, coercion(one.type)) for one in signatures],
            compiled,
            self._alone(root, *next(iter(fields.items())), signatures) if len(fields) == 1 else None,
        )

    def _alone(self, root: GraphQLObjectType, name: str, details: Details, signatures: Signatures) -> Root:
        nodes = [one.node for one in details]
        definition = self._schema.get_field(root, nodes[0].name.value)
        assert definition is not None  # noqa: S101 - the operation is valid
        try:  # each variable stands for its value
            given = get_argument_values(definition, nodes[0], VariableValues({}, {one.name: one for one in signatures}))
            variables = {name: one.name for name, one in given.items() if isinstance(one, GraphQLVariableSignature)}
        except GraphQLError:  # of a default value in the schema
            given, variables = {"": None}, {}
        path = Path(None, name, root.name)
        info = (nodes[0].name.value, nodes, definition.type, root, path, self._schema, self.definitions)
        return Root(name, definition, details, path, info, variables if len(variables) == len(given) else None)

    def _field(self, parent: GraphQLObjectType, nodes: Details) -> GraphQLField:
        field = self._schema.get_field(parent, nodes[0].node.name.value)
        assert field is not None  # noqa: S101 - the operation is valid
        return field

    def _compile(self, type_: GraphQLOutputType, nodes: Details, *, in_list: bool = False) -> CompiledSelection:
        """Compile the selection of a field. Raises _NotCompilable."""
        self.fields += 1
        required = is_non_null_type(type_)
        plain = get_nullable_type(type_)
        if is_leaf_type(plain):
            return complete_leaf(plain, required=required, in_list=in_list)
        if is_list_type(plain):
            of_leaves = is_leaf_type(get_nullable_type(plain.of_type))
            item = self._compile(plain.of_type, nodes, in_list=True)
            return complete_list(item, required=required, of_leaves=of_leaves)
        if is_object_type(plain):
            return self._object(plain, nodes, required=required)
        if is_union_type(plain) and plain.resolve_type is not None:
            members = {one.name: self._object(one, nodes, required=True) for one in plain.types}
            return complete_union(plain, members, required=required)
        raise _NotCompilable

    def _object(self, type_: GraphQLObjectType, nodes: Details, *, required: bool) -> CompiledSelection:
        collected = collect_subfields(self._schema, self._fragments, NO_VARIABLES, self._operation, type_, nodes)
        fields = [self._selected(type_, *field) for field in collected.grouped_field_set.items()]
        return complete_object(type_, fields, required=required)

    def _selected(self, parent: GraphQLObjectType, name: str, nodes: Details) -> Selected:
        if nodes[0].node.name.value == "__typename":
            return Selected(name, CompiledSelection(lambda value, _info, _meter: value), "by{0}", parent.name)
        field = self._field(parent, nodes)
        selection = self._compile(field.type, nodes)
        if isinstance(field.resolve, InfoResolver):
            return Selected(name, selection, "by{0}(value, info)", field.resolve.read)
        if isinstance(field.resolve, ValueResolver):
            return Selected(name, selection, "by{0}(value)", field.resolve.read)
        return Selected(name, selection, f"value.{_attribute(field)}")


def _attribute(field: GraphQLField) -> str:
    """Return the attribute that a field shows. Raises _NotCompilable for resolvers, arguments or extensions."""
    definition = field.extensions.get("strawberry-definition")
    if (
        definition is None
        or field.args
        or not definition.is_basic_field
        or not getattr(field.resolve, "_is_default", False)
        or definition.default_resolver is not getattr
        or not definition.python_name.isidentifier()
    ):
        raise _NotCompilable
    return str(definition.python_name)


class CompiledExecutor(Executor[Any]):
    """graphql-core's executor with a plan; compiled selections complete the root fields whose values they cover.

    A root field that is alone is executed by itself, without what graphql-core has around several.
    """

    compiled: CompiledSelections
    meter: Meter
    plan: Plan | None = None  # by which it was built
    deadline: Deadline | None = None

    def __getattr__(self, name: str) -> Any:
        """Take the attributes of graphql-core's executor when one of them is needed, which is seldom."""
        plan = self.plan
        if plan is None or name not in plan.attributes:
            raise AttributeError(name)
        # Each execution has its own of what graphql-core changes.
        own = {
            "collected_errors": CollectedErrors(),
            "pending_incremental_futures": set(),
            "background_futures": set(),
            "_relevant_sub_fields": {},
            "_stream_usages": RefMap(),
        }
        self.__dict__ = plan.attributes | own | self.__dict__
        return self.__dict__[name]

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
        **further: Any,
    ) -> list[GraphQLError] | CompiledExecutor:
        """Build the executor, or return the errors of the variables.

        Any further argument besides `PLANNED` changes how fields are executed, so the plan is left out.
        """
        if given or not PLANNED.issuperset(further):
            plan = None
        values = plan.variables(raw_variable_values or {}) if plan else None
        if plan is None or values is None:
            if not given:
                further.setdefault("is_awaitable", OPTIMIZED)
            built: Any = super().build(
                schema, document, root_value, context_value, raw_variable_values, operation_name, *given, **further
            )
            if isinstance(built, list):
                return built
            made: CompiledExecutor = built
        else:
            made = cls.__new__(cls)
            made.plan = plan
            made.root_value, made.context_value, made.variable_values = root_value, context_value, values
            made.is_awaitable = further.get("is_awaitable") or OPTIMIZED
            made.is_async_iterable = further.get("is_async_iterable") or is_async_iterable
            made.hide_suggestions = further.get("hide_suggestions", False)
        made.compiled = plan.compiled if plan else {}
        made.meter = getattr(context_value, "meter", None) or Meter()
        return made

    def execute_operation(self, serially: bool | None = None) -> Any:  # noqa: FBT001 - graphql-core's signature
        if self.plan is None or (field := self.plan.alone) is None:
            return super().execute_operation(serially)
        definition, values = field.definition, self.variable_values
        further = values, self.context_value, self.is_awaitable, None, self.async_helpers
        info = INFO(*field.info, self.root_value, self.plan.attributes["operation"], *further)
        try:
            given = {name: values.coerced[variable] for name, variable in (field.variables or {}).items()}
            if field.variables is None or any(one is None for one in given.values()):
                given = get_argument_values(definition, info.field_nodes[0], values, None, self.hide_suggestions)
            value = (definition.resolve or default_field_resolver)(self.root_value, info, **given)
            if not self.is_awaitable(value):
                value = self.complete_value(definition.type, field.details, info, field.path, value, None)
                if not self.is_awaitable(value):
                    return self._answered(field, value)
                info = None
        except Exception as error:  # noqa: BLE001 - it becomes the field's
            return self._failed(field, error)
        return self._later(field, info, value)

    async def _later(self, field: Root, info: GraphQLResolveInfo[Any] | None, value: Any) -> Any:
        """Await the value; complete it where the field's `info` is given."""
        try:
            value = await value
            if info is not None:
                value = self.complete_value(field.definition.type, field.details, info, field.path, value, None)
                if self.is_awaitable(value):
                    value = await value
        except Exception as error:  # noqa: BLE001 - it becomes the field's
            return self._failed(field, error)
        return self._answered(field, value)

    def _answered(self, field: Root, value: Any) -> ExecutionResult:
        # Without the attributes of graphql-core's executor there are no errors.
        errors = self.collected_errors.errors if "collected_errors" in self.__dict__ else None
        return ExecutionResult({field.name: value}, errors or None)

    def _failed(self, field: Root, error: Exception) -> Any:
        try:
            self.handle_field_error(error, field.definition.type, field.details, field.path)
        except GraphQLError as propagated:
            self.collected_errors.add(propagated, None)
            return self.build_response(None)
        return self._answered(field, None)

    def handle_field_error(self, raw_error: Exception, *given: Any) -> None:
        """Raise the error of a field that may not be null without graphql-core's frame, which refers to the error.

        graphql-core drops a second such error unseen; its traceback would keep its frames in a cycle.
        """
        try:
            super().handle_field_error(raw_error, *given)
        except GraphQLError as error:
            del raw_error  # it may be the same
            raise error.with_traceback(None) from error.__cause__

    def execute_fields_serially(self, *given: Any) -> Any:
        """Execute the fields of a mutation; with a deadline, those that are late or let a cancellation out are null."""
        if self.deadline is None:
            return super().execute_fields_serially(*given)
        return self._in_time(self.deadline, *given)

    async def _in_time(
        self, deadline: Deadline, parent: GraphQLObjectType, source: Any, path: Path | None, fields: Any, _context: Any
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

    def complete_value(self, *given: Any) -> Any:
        return_type, details, info, path, result, context = given
        if path.prev is None and (compiled := self.compiled.get(path.key)) is not None:
            meter = self.meter
            before = meter.values, meter.bytes
            try:
                work = compiled.complete(result, info, meter)
                if not compiled.sliced:
                    return work
                next(work)
                return self._in_slices(work, before, given)
            except StopIteration as end:
                if compiled.sliced:
                    return end.value
                meter.go_back(before)  # an attribute has raised it
            except Exception:  # noqa: BLE001 - graphql-core meets it too, and says what is wrong
                meter.go_back(before)
        if is_list_type(return_type):
            given = return_type, details, info, path, self._sliced(result), context
        completed = super().complete_value(*given)
        if is_leaf_type(return_type):
            self.meter.count_value(completed)
        return completed

    async def _in_slices(self, work: Iterator[None], before: tuple[int, int], given: tuple[Any, ...]) -> Any:
        """Go on with the completion of the value that `complete_value` was given, a slice in each turn."""
        try:
            while True:
                await self.meter.rest()
                next(work)
        except StopIteration as end:
            return end.value
        except Exception:  # noqa: BLE001 - as above
            self.meter.go_back(before)
        completed = super().complete_value(*given)
        return await completed if self.is_awaitable(completed) else completed

    def _sliced(self, items: Any) -> Any:
        """Complete the items of a list, in slices where there are many, with a turn of the loop between them."""
        self.meter.check()
        return self._items(items) if isinstance(items, list | tuple) and len(items) > MAX_UNSLICED_ITEMS else items

    async def _items(self, items: Sequence[Any]) -> AsyncIterator[Any]:
        meter = self.meter
        for item in items:
            yield item
            meter.check()
            if meter.is_due():
                await meter.rest()
