"""Estimates the number of values that an operation asks for: each page counts as often as it is long."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

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
    """The fields that occur once, and the pages by their length: a number, or the name of a variable."""

    fields: int = 0
    pages: tuple[tuple[int | str, int, Cost], ...] = ()  # with the length where that of a variable is not given
    names: frozenset[str] = frozenset()  # of all fields
    own: frozenset[str] = frozenset()  # of those of the set itself, fragments included
    counted: int = 0  # fields that are `COUNTED`, outside of the pages

    def of(self, variables: Mapping[str, Any], *, nested: bool = False) -> int:
        """Return the number of values for these variables; inside a page each further read counts as some."""
        values = self.fields + ((len(self.pages) + self.counted) * READ if nested else 0)
        for length, default, inner in self.pages:
            given = variables.get(length, default) if isinstance(length, str) else length
            items = min(max(given if type(given) is int else default, 0), MAX_PAGE)
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
            length = _length(selection, inner)
            names |= inner.names
            if length is not None:
                pages.append((length, LISTS.get(selection.name.value, PAGE), inner))
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


def _length(field: FieldNode, inner: Cost) -> int | str | None:
    """Return the length of the page that a field asks for; None for a field that is no page."""
    for argument in field.arguments or ():
        if argument.name.value in LENGTHS:
            if isinstance(argument.value, VariableNode):
                return argument.value.name.value
            if isinstance(argument.value, IntValueNode):
                return _number(argument.value)
    return LISTS.get(field.name.value, PAGE if ITEMS.intersection(inner.own) else None)


def _number(node: IntValueNode) -> int:
    return int(node.value) if len(node.value) < 10 else MAX_PAGE  # noqa: PLR2004
