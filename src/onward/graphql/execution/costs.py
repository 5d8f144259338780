"""Estimates the number of values that an operation asks for: each page counts as often as it is long."""

from __future__ import annotations

from collections.abc import Mapping
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
MAX_PAGE = 200  # a longer one is refused, or read in slices
LENGTHS = ("first", "last")
ITEMS = ("nodes", "edges")


class Cost(NamedTuple):
    """The fields that occur once, and the pages by their length: a number, or the name of a variable."""

    fields: int = 0
    pages: tuple[tuple[int | str, Cost], ...] = ()
    names: frozenset[str] = frozenset()  # of all fields

    def of(self, variables: Mapping[str, Any]) -> int:
        """Return the number of values for these variables."""
        values = self.fields
        for length, inner in self.pages:
            given = variables.get(length, PAGE) if isinstance(length, str) else length
            values += min(max(given if type(given) is int else PAGE, 0), MAX_PAGE) * inner.of(variables)
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
    fields, pages, names = 0, [], set()
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            fields += 1
            names.add(selection.name.value)
            if selection.selection_set is None:
                continue
            inner, length = cost(selection.selection_set, fragments), _length(selection)
            names |= inner.names
            if length is not None:
                pages.append((length, inner))
                continue
        else:
            inner = cost(
                fragments[selection.name.value].selection_set
                if isinstance(selection, FragmentSpreadNode)
                else selection.selection_set,  # type: ignore[attr-defined]
                fragments,
            )
            names |= inner.names
        fields += inner.fields
        pages += inner.pages
    return Cost(fields, tuple(pages), frozenset(names))


def _length(field: FieldNode) -> int | str | None:
    """Return the length of the page that a field asks for; None for a field that is no page."""
    for argument in field.arguments or ():
        if argument.name.value in LENGTHS:
            if isinstance(argument.value, VariableNode):
                return argument.value.name.value
            if isinstance(argument.value, IntValueNode):
                return _number(argument.value)
    nested = field.selection_set.selections if field.selection_set else ()
    is_page = any(isinstance(inner, FieldNode) and inner.name.value in ITEMS for inner in nested)
    return PAGE if is_page else None


def _number(node: IntValueNode) -> int:
    return int(node.value) if len(node.value) < 10 else MAX_PAGE  # noqa: PLR2004
