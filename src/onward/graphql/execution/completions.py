"""Completions of a resolved value of each kind of type, for values that are as usual."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import EnumMeta
from operator import attrgetter
from typing import Any, NamedTuple

from graphql import (
    GraphQLBoolean,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLString,
    Undefined,
    is_enum_type,
)
from strawberry.execution import optimized_is_awaitable

from onward.graphql.meter import VALUE_BYTES, Meter

Complete = Callable[[Any, GraphQLResolveInfo[Any], Meter], Any]
Read = Callable[[Any], Any]
SMALL = frozenset({"Int", "Float", "Boolean", "DateTime"})  # leaves whose size is that of any value
MIN_INT, MAX_INT = -(2**31), 2**31 - 1
ORDINARY = frozenset({bool, int, float, str, list, tuple})  # classes of no error, and of nothing awaitable
MAX_SORTED = 16  # combinations of classes that an object type remembers
MAX_UNSLICED_ITEMS = 20  # items of a list; the loop gets its turn between those of a longer one


class CompiledSelection(NamedTuple):
    """Completes a value at once, or in slices; `paced` is None where there is no list to be sliced."""

    complete: Complete
    paced: Complete | None = None
    present: Complete | None = None  # as `complete`, for a value that cannot be null, an error or awaitable


class NotCovered(Exception):
    """Leaves the completion of this value to graphql-core."""


class ListTooLong(Exception):
    """The value has a list that is completed in slices."""


class Selected(NamedTuple):
    """A field of an object type."""

    name: str
    attribute: str | None  # that is read; None if the value is made by `read`
    read: Read
    selection: CompiledSelection
    leaf: GraphQLLeafType | None = None

    def is_text(self, cls: type) -> bool:
        return cls is str and (self.leaf is GraphQLString or self.leaf is GraphQLID)

    def completion(self, cls: type) -> Complete | None:
        """Return the completion of values of exactly this class; None if they are their own."""
        if self.is_text(cls) or (cls is bool and self.leaf is GraphQLBoolean):
            return None
        ordinary = cls in ORDINARY or (isinstance(cls, EnumMeta) and not hasattr(cls, "__await__"))
        return self.selection.present if ordinary and self.selection.present else self.selection.complete


def complete_object(type_: GraphQLObjectType, fields: list[Selected]) -> CompiledSelection:
    """Complete objects by the classes of their values: most need nothing, and are copied together."""
    is_type_of = type_.is_type_of
    names = [field.name for field in fields]
    readers = [field.read for field in fields]
    attributes = [field.attribute for field in fields if field.attribute is not None]
    several = attrgetter(*attributes) if len(attributes) == len(fields) > 1 else None
    number = len(fields)
    known: dict[tuple[type, ...], tuple[list[int], list[tuple[str, Complete]]]] = {}

    def sort(classes: tuple[type, ...]) -> tuple[list[int], list[tuple[str, Complete]]]:
        """Return the places of texts, and the fields whose values need a completion of their own."""
        pairs = list(zip(fields, classes, strict=True))
        texts = [place for place, (field, cls) in enumerate(pairs) if field.is_text(cls)]
        others = [(field.name, select) for field, cls in pairs if (select := field.completion(cls)) is not None]
        if len(known) >= MAX_SORTED:
            known.clear()
        known[classes] = texts, others
        return texts, others

    def complete(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        if is_type_of is not None and is_type_of(value, info) is not True:
            raise NotCovered
        values = several(value) if several is not None else [read(value) for read in readers]
        classes = tuple(map(type, values))
        texts, others = known.get(classes) or sort(classes)
        made = dict(zip(names, values))  # noqa: B905 - as many as there are names
        size = number + len(texts)
        meter.values -= size
        size *= VALUE_BYTES
        for place in texts:
            text = values[place]
            size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        meter.bytes -= size
        for name, select in others:
            made[name] = select(made[name], info, meter)
        meter.check()
        return made

    sliced = any(field.selection.paced is not None for field in fields)
    return CompiledSelection(complete, _paced_object(type_, fields) if sliced else None)


def _paced_object(type_: GraphQLObjectType, fields: list[Selected]) -> Complete:
    is_type_of = type_.is_type_of

    async def paced(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        if is_type_of is not None and is_type_of(value, info) is not True:
            raise NotCovered
        meter.values -= len(fields)
        made = {}
        for field in fields:
            found, selection = field.read(value), field.selection
            if selection.paced is None:
                made[field.name] = selection.complete(found, info, meter)
            else:
                made[field.name] = await selection.paced(found, info, meter)
        meter.check()
        return made

    return paced


def complete_nullable(inner: CompiledSelection, *, required: bool) -> CompiledSelection:
    """Complete values that may be null, an error or awaitable; only null is covered, where it is allowed."""

    def is_null(value: Any) -> bool:
        if value is None or value is Undefined:
            if required:
                raise NotCovered
            return True
        if isinstance(value, Exception) or optimized_is_awaitable(value):
            raise NotCovered
        return False

    within, paced_within, _ = inner

    def complete(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        return None if is_null(value) else within(value, info, meter)

    if paced_within is None:
        return CompiledSelection(complete, present=within)

    async def paced(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        return None if is_null(value) else await paced_within(value, info, meter)

    return CompiledSelection(complete, paced, within)


def complete_leaf(type_: GraphQLLeafType, *, in_list: bool) -> Complete:
    """Return the completion of a scalar's or an enum's values. Small ones are counted by their object or list."""
    coerce = type_.coerce_output_value
    small = type_.name in SMALL or is_enum_type(type_)
    count = Meter.count_content if in_list else Meter.count_value

    def complete(value: Any, _info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise NotCovered
        if not small:
            count(meter, coerced)
        return coerced

    def name(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        return members[value] if type(value) is enum and value in members else complete(value, info, meter)

    def integer(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        return value if type(value) is int and MIN_INT <= value <= MAX_INT else complete(value, info, meter)

    if type_ is GraphQLInt:
        return integer
    # Strawberry's own way compares the value with one member after another.
    enum = getattr(type_, "wrapped_cls", None)
    every: list[Any] = list(enum) if isinstance(enum, EnumMeta) else []
    if not every or not all(isinstance(member, Hashable) for member in every):
        return complete
    members = {member: type_.coerce_output_value(member) for member in every}
    return name


def complete_list(item: CompiledSelection, *, of_leaves: bool) -> CompiledSelection:
    """Return the completion of a list, at once or in slices, from that of its items; leaves are counted here."""
    within, paced_within, _ = item

    def count(value: Any, meter: Meter) -> None:
        if type(value) is not list and type(value) is not tuple:
            raise NotCovered
        if of_leaves:
            meter.count_values(len(value))

    def complete(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        count(value, meter)
        if len(value) > MAX_UNSLICED_ITEMS:
            raise ListTooLong
        return [within(each, info, meter) for each in value]

    async def paced(value: Any, info: GraphQLResolveInfo[Any], meter: Meter) -> Any:
        count(value, meter)
        made = []
        for each in value:
            before = meter.values, meter.bytes
            try:
                made.append(within(each, info, meter))
            except ListTooLong:
                assert paced_within is not None  # noqa: S101 - a list inside was too long
                meter.values, meter.bytes = before
                made.append(await paced_within(each, info, meter))
            if meter.is_due():
                await meter.rest()
        return made

    return CompiledSelection(complete, paced)
