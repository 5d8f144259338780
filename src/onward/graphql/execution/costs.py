"""Estimates the number of values that an operation asks for: each page counts as often as it is long."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeGuard

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)

PAGE = 50  # of a connection whose length is not given
LISTS = MappingProxyType({"batches": 20, "failures": 1_000, "logLines": PAGE, "schedules": 200, "workers": PAGE})
"""Lists without the fields of a page, by their length where none is given; there is no telling that of `workers`."""
MAX_PAGE = 1_000  # a longer one is refused, or read in slices
LENGTHS = ("first", "last")
ITEMS = frozenset({"nodes", "edges", "pageInfo"})
COUNTED = frozenset({"counts", "canRetryBatch"})  # of a batch: each is a read of its own, as a page inside a page is
READ = 200  # values for each of them: that of an empty page is not free


class Cost(NamedTuple):
    """The fields that occur once, and the pages by their lengths, of which the largest counts.

    A length is a number, or the name of a variable.
    """

    fields: int = 0
    pages: tuple[tuple[tuple[int | str, ...], int, Cost], ...] = ()  # with the length where none is given
    names: frozenset[str] = frozenset()  # of all fields
    own: frozenset[str] = frozenset()  # of those of the set itself, fragments included
    counted: int = 0  # fields that are `COUNTED`, outside of the pages

    def of(self, variables: Mapping[str, Any], *, nested: bool = False) -> int:
        """Return the number of values for these variables; inside a page each further read counts as some."""
        values = self.fields + ((len(self.pages) + self.counted) * READ if nested else 0)
        for lengths, default, inner in self.pages:
            given = [variables.get(length) if isinstance(length, str) else length for length in lengths]
            longest = max((int(one) for one in given if _is_length(one)), default=default)
            items = min(max(longest, 0), MAX_PAGE)
            values += items * inner.of(variables, nested=True)
        return values


def defaults(operation: OperationDefinitionNode) -> dict[str, int]:
    """Return the default values of an operation's variables that are whole numbers."""
    return {
        definition.variable.name.value: _number(definition.default_value)
        for definition in operation.variable_definitions or ()
        if isinstance(definition.default_value, IntValueNode)
    }


def cost(selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Cost:
    """Return the cost of a valid document's selections, whose fields are within the limits."""
    fields, counted, pages, names, own = 0, 0, [], set(), set()
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            fields += 1
            names.add(selection.name.value)
            own.add(selection.name.value)
            counted += selection.name.value in COUNTED
            if selection.selection_set is None:
                continue
            inner = cost(selection.selection_set, fragments)
            names |= inner.names
            if (lengths := _lengths(selection, inner)) is not None:
                pages.append((lengths, LISTS.get(selection.name.value, PAGE), inner))
                continue
        else:
            inner = cost(
                fragments[selection.name.value].selection_set
                if isinstance(selection, FragmentSpreadNode)
                else selection.selection_set,  # type: ignore[attr-defined]
                fragments,
            )
            names |= inner.names
            own |= inner.own
        fields += inner.fields
        counted += inner.counted
        pages += inner.pages
    return Cost(fields, tuple(pages), frozenset(names), frozenset(own), counted)


def _lengths(field: FieldNode, inner: Cost) -> tuple[int | str, ...] | None:
    """Return the lengths that a field gives for its page; None for a field that is no page."""
    found: list[int | str] = []
    for argument in field.arguments or ():
        if argument.name.value in LENGTHS:
            if isinstance(argument.value, VariableNode):
                found.append(argument.value.name.value)
            if isinstance(argument.value, IntValueNode):
                found.append(_number(argument.value))
    return tuple(found) if found or field.name.value in LISTS or ITEMS.intersection(inner.own) else None


def _is_length(given: Any) -> TypeGuard[float]:
    """True for what is coerced to an Int: a whole number, also in the form 200.0."""
    return type(given) is int or (type(given) is float and given.is_integer())


def _number(node: IntValueNode) -> int:
    return int(node.value) if len(node.value) < 10 else MAX_PAGE  # noqa: PLR2004
