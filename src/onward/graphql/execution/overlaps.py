"""Pairs of fields under one name in one place of a document; validation compares each pair."""

from __future__ import annotations

from collections import defaultdict

from graphql import DocumentNode, FieldNode, FragmentDefinitionNode, FragmentSpreadNode, SelectionSetNode
from graphql import ExecutableDefinitionNode as Definition

# Selections, and the fragments around them: one that spreads itself is left for validation to name.
Selections = tuple[SelectionSetNode, frozenset[str]]


class TooMany(Exception):
    """The document has more fields than are counted."""


def overlaps(document: DocumentNode, fields: int) -> int:
    """Count the pairs with fragments spread out, each once in a place. Raises TooMany for more than `fields` fields."""
    definitions = [definition for definition in document.definitions if isinstance(definition, Definition)]
    fragments = {d.name.value: d.selection_set for d in definitions if isinstance(d, FragmentDefinitionNode)}
    pending: list[list[Selections]] = [[(definition.selection_set, frozenset())] for definition in definitions]
    pairs = 0
    while pending:
        named = _named(pending.pop(), fragments)
        for same in named.values():
            fields -= len(same)
            pairs += len(same) * (len(same) - 1) // 2
            if nested := [(node.selection_set, within) for node, within in same if node.selection_set]:
                pending.append(nested)
        if fields < 0:
            raise TooMany
    return pairs


def _named(
    place: list[Selections], fragments: dict[str, SelectionSetNode]
) -> dict[str, list[tuple[FieldNode, frozenset[str]]]]:
    """Group the fields of a place by their response names."""
    named = defaultdict(list)
    spread: set[str] = set()
    for selections, within in place:  # the list grows by the fragments that are found
        for selection in selections.selections:
            if isinstance(selection, FieldNode):
                named[(selection.alias or selection.name).value].append((selection, within))
            elif isinstance(selection, FragmentSpreadNode):
                name = selection.name.value
                if name in fragments and name not in spread and name not in within:
                    spread.add(name)
                    place.append((fragments[name], within | {name}))
            else:
                place.append((selection.selection_set, within))  # type: ignore[attr-defined]
    return named
