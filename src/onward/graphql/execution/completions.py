"""Completions of a resolved value of each kind of type, for values that are as usual.

An object type's is generated: a function that reads the object's attributes, checks their classes, and counts them at
once. Its source holds names of attributes, numbers, and no text of a client's: documents that differ in their aliases
alone share it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping
from enum import EnumMeta
from functools import lru_cache
from types import CodeType, FunctionType, GeneratorType
from typing import Any, NamedTuple

from graphql import (
    GraphQLBoolean,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLString,
    GraphQLUnionType,
    Undefined,
    is_enum_type,
)
from strawberry.execution import optimized_is_awaitable

from onward.graphql.meter import VALUE_BYTES, Meter

Complete = Callable[[Any, GraphQLResolveInfo[Any], Meter], Any]
Work = Generator[None, None, Any]
SMALL = frozenset({"Int", "Float", "Boolean", "DateTime"})  # leaves whose size is that of any value
MAX_UNSLICED_ITEMS = 20  # of a list of plain items; the loop may get its turn after each item of a longer one
TEXT = "if type({0}) is str: size += len({0}) if {0}.isascii() else len({0}.encode('utf-8', 'surrogatepass'))"
USUAL: dict[GraphQLLeafType, str] = {
    GraphQLString: TEXT,
    GraphQLID: TEXT,
    GraphQLBoolean: "if type({0}) is bool: pass",
    GraphQLInt: "if type({0}) is int and -2147483648 <= {0} <= 2147483647: pass",
}


class CompiledSelection(NamedTuple):
    """Completes a value, in slices where there may be a list: then it is a generator that yields after each slice."""

    complete: Complete
    sliced: bool = False
    usual: str | None = None  # source that leaves a usual value as it is; any other is completed by the function


class NotCovered(Exception):
    """Leaves the completion of this value to graphql-core."""


class Selected(NamedTuple):
    """A field of an object type."""

    name: str
    selection: CompiledSelection
    read: str  # an expression of `value` and `info`, and of `by` where it is given
    by: Any = None


def _is_ordinary(cls: type) -> bool:
    """Return whether no value of the class is null, an error or awaitable."""
    strange = cls is type(None) or cls is type(Undefined) or issubclass(cls, Exception | GeneratorType)
    return not (strange or hasattr(cls, "__await__") or hasattr(cls, "__getattr__"))


is_ordinary: Callable[[type], bool] = lru_cache(256)(_is_ordinary)


def is_null(value: Any, *, required: bool) -> bool:
    """Return whether the value is null. Raises NotCovered for an error, an awaitable, and null that is not allowed."""
    if value is None or value is Undefined:
        if required:
            raise NotCovered
        return True
    if isinstance(value, Exception) or optimized_is_awaitable(value):
        raise NotCovered
    return False


HELPERS = {"is_ordinary": is_ordinary, "is_null": is_null, "NotCovered": NotCovered}


def complete_object(type_: GraphQLObjectType, fields: list[Selected], *, required: bool) -> CompiledSelection:
    """Generate the completion of objects: leaves first, so that they are counted before objects inside are made."""
    names: dict[str, Any] = {**HELPERS, "is_type_of": type_.is_type_of, "required": required}
    lines = [
        "def complete(value, info, meter):",
        " if not is_ordinary(type(value)) and is_null(value, required=required): return None",
    ]
    if type_.is_type_of is not None:
        lines.append(" if is_type_of(value, info) is not True: raise NotCovered")
    lines.append(f" size = {VALUE_BYTES * len(fields)}")
    inner, texts = [], 0
    for place, field in enumerate(fields):
        complete, sliced, usual = field.selection
        names |= {f"n{place}": field.name, f"by{place}": field.by, f"c{place}": complete}
        lines.append(f" v{place} = {field.read.format(place)}")
        texts += usual is TEXT
        call = f"v{place} = {'yield from ' * sliced}c{place}(v{place}, info, meter)"
        if usual is None:
            inner.append(f" {call}")
        else:
            (inner if sliced else lines).extend([f" {usual.format(f'v{place}')}", f" else: {call}"])
    lines += [
        f" meter.values -= {len(fields) + texts}",
        f" meter.bytes -= size + {VALUE_BYTES * texts}",
        " if meter.values < 0 or meter.bytes < 0: meter.check()",
        *inner,
        f" return {{{', '.join(f'n{place}: v{place}' for place in range(len(fields)))}}}",
    ]
    made = FunctionType(_code("\n".join(lines)), names)
    return CompiledSelection(made, any(field.selection.sliced for field in fields))


@lru_cache(256)
def _code(source: str) -> CodeType:
    """Compile the source of a function, which takes longer than all else about a selection."""
    (code,) = (one for one in compile(source, __name__, "exec").co_consts if isinstance(one, CodeType))
    return code


@lru_cache(256)  # documents share it: they may have thousands of fields
def complete_leaf(type_: GraphQLLeafType, *, required: bool, in_list: bool) -> CompiledSelection:
    """Complete a scalar's or an enum's values. An object or list counts them; the content is counted here."""
    coerce = type_.coerce_output_value
    usual = USUAL.get(type_)
    small = type_.name in SMALL or is_enum_type(type_)
    count = Meter.count_content if in_list or usual else Meter.count_value

    def complete(value: Any, _info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        if not is_ordinary(type(value)) and is_null(value, required=required):
            if usual is TEXT and not in_list:
                meter.values += 1
                meter.bytes += VALUE_BYTES
            return None
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise NotCovered
        if not small:
            count(meter, coerced)
        return coerced

    def name(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        return members[value] if type(value) is enum else complete(value, info, meter)

    # Strawberry's own way compares the value with one member after another.
    enum = getattr(type_, "wrapped_cls", None)
    every: list[Any] = list(enum) if isinstance(enum, EnumMeta) else []
    if not every or not all(isinstance(member, Hashable) for member in every):
        return CompiledSelection(complete, usual=usual)
    members = {member: type_.coerce_output_value(member) for member in every}
    return CompiledSelection(name)


def complete_list(item: CompiledSelection, *, required: bool, of_leaves: bool) -> CompiledSelection:
    """Complete lists by the completion of their items; leaves are counted here."""
    within, sliced, _ = item

    def complete(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Work:
        if type(value) is not list and type(value) is not tuple:
            if is_null(value, required=required):
                return None
            raise NotCovered
        if of_leaves:
            meter.count_values(len(value))
        if not sliced and len(value) <= MAX_UNSLICED_ITEMS:
            return [within(each, info, meter) for each in value]
        made: list[Any] = []
        for each in value:
            made.append((yield from within(each, info, meter)) if sliced else within(each, info, meter))
            if meter.is_due():
                yield
        return made

    return CompiledSelection(complete, sliced=True, usual="if type({0}) is list and not {0}: {0} = []")


def complete_union(
    type_: GraphQLUnionType, members: Mapping[str, CompiledSelection], *, required: bool
) -> CompiledSelection:
    """Complete values by the completion of their own type."""
    resolve: Any = type_.resolve_type

    def complete(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Work:
        if not is_ordinary(type(value)) and is_null(value, required=required):
            return None
        within, sliced, _ = members[resolve(value, info, type_)]
        return (yield from within(value, info, meter)) if sliced else within(value, info, meter)

    return CompiledSelection(complete, sliced=True)
