"""Limits of one request, counted in time linear in the document, before validation and execution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Token,
    TokenKind,
)

from onward.graphql.base import public_error
from onward.graphql.execution.overlaps import TooMany, overlaps

INTROSPECTION = frozenset({"__schema", "__type"})
DEFINITIONS_FACTOR = (
    20  # all definitions together, operations and unused fragments included, may have as many times `fields`
)
MAX_DIGITS = 1_000  # of a number in a document; the longest float has 309 before its point
NESTING = 64  # selection sets inside one definition; braces of introspection and inline fragments included


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one request, or of one socket."""

    body_bytes: int = 100_000
    json_depth: int = 32
    tokens: int = 1_000
    depth: int = 12  # fields inside fields; introspection has a limit of its own in graphql-core
    aliases: int = 15
    root_mutations: int = 5
    directives: int = 50
    fields: int = 500  # with every fragment written out
    overlaps: int = 5_000  # pairs of fields of one name in one place
    errors: int = 5
    timeout_s: float = 10.0
    subscriptions: int = 20  # operations at once on one socket
    init_timeout_s: float = 10.0
    idle_timeout_s: float = 600.0  # a socket without an operation is closed after as long
    body_timeout_s: float = 20.0
    heartbeat_s: float = 12.0
    answer_values: int = 100_000  # of one answer, each scalar and object counted
    answer_bytes: int = 8_000_000
    documents: int = 25_000  # tokens of all the documents kept parsed and validated


@dataclass(frozen=True, slots=True)
class Weight:
    """The figures of a selection set with its fragments spread out."""

    depth: int = 0
    width: int = 0  # fields at its own level
    aliases: int = 0
    directives: int = 0
    fields: int = 0


class _TooDeep(Exception):
    pass


class ComplexityCounter:
    """Weighs the definitions of one document, each fragment once."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._known: dict[str, Weight] = {}

    def weigh(self, selections: SelectionSetNode, nesting: int = 1) -> Weight:
        if nesting > NESTING:
            raise _TooDeep
        depth = width = aliases = directives = fields = 0
        for selection in selections.selections:
            directives += len(selection.directives or ())
            if isinstance(selection, FieldNode):
                nested = selection.selection_set
                inner = self.weigh(nested, nesting + 1) if nested else Weight()
                aliases += selection.alias is not None
                fields += 1
                width += 1
                level = 1 if selection.name.value in INTROSPECTION else 1 + inner.depth
            else:
                inner = (
                    self.fragment(selection.name.value)
                    if isinstance(selection, FragmentSpreadNode)
                    else self.weigh(selection.selection_set, nesting + 1)  # type: ignore[attr-defined]
                )
                level = inner.depth
                width += inner.width
            depth = max(depth, level)
            aliases += inner.aliases
            directives += inner.directives
            fields += inner.fields
        return Weight(depth, width, aliases, directives, fields)

    def fragment(self, name: str) -> Weight:
        """Weigh a fragment; zero if it is missing or spreads itself, which validation reports."""
        weight = self._known.get(name)
        if weight is None:
            self._known[name] = Weight()
            definition = self._fragments.get(name)
            if definition is not None:
                weight = self.weigh(definition.selection_set)
                own = len(definition.directives or ())
                self._known[name] = replace(weight, directives=weight.directives + own)
        return self._known[name]


def check(document: DocumentNode, limits: Limits) -> GraphQLError | None:
    """Return the error of the first exceeded limit, or None."""
    counter = ComplexityCounter(document)
    try:
        for definition in document.definitions:
            if isinstance(definition, FragmentDefinitionNode):
                counter.fragment(definition.name.value)
        for definition in document.definitions:
            if isinstance(definition, OperationDefinitionNode):
                for what, count, limit in _counts(definition, counter, limits):
                    if count > limit:
                        return public_error(f"The operation has more than {limit} {what}.", "TOO_COMPLEX")
        if overlaps(document, DEFINITIONS_FACTOR * limits.fields) > limits.overlaps:
            message = f"The document has more than {limits.overlaps} pairs of fields of one name in one place."
            return public_error(message, "TOO_COMPLEX")
    except TooMany:
        return public_error(
            f"The document has more than {DEFINITIONS_FACTOR * limits.fields} fields in all.", "TOO_COMPLEX"
        )
    except (_TooDeep, RecursionError):
        return public_error(f"The operation has more than {limits.depth} levels of fields.", "TOO_COMPLEX")
    return None


def long_number(document: DocumentNode) -> GraphQLError | None:
    """Return the error of a number that is too long to convert, or None: Python's own would name a setting of it."""
    if document.loc is None:
        return None
    token: Token | None = document.loc.start_token
    while token is not None:
        if token.end - token.start > MAX_DIGITS and token.kind in (TokenKind.INT, TokenKind.FLOAT):
            found = public_error(f"A number in the document has more than {MAX_DIGITS:,} characters.", "TOO_COMPLEX")
            return GraphQLError(
                found.message, source=document.loc.source, positions=[token.start], extensions=found.extensions
            )
        token = token.next
    return None


def _counts(
    operation: OperationDefinitionNode, counter: ComplexityCounter, limits: Limits
) -> Iterable[tuple[str, int, int]]:
    weight = counter.weigh(operation.selection_set)
    variables = sum(len(v.directives or ()) for v in operation.variable_definitions or ())
    yield "levels of fields", weight.depth, limits.depth
    yield "aliases", weight.aliases, limits.aliases
    yield "directives", weight.directives + len(operation.directives or ()) + variables, limits.directives
    yield "fields, with its fragments written out", weight.fields, limits.fields
    if operation.operation is OperationType.MUTATION:
        yield "mutations", weight.width, limits.root_mutations
