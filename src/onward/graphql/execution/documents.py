"""Documents by their text: parsed, weighed and validated once; the most recently used are kept."""

from __future__ import annotations

import asyncio
import gc
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import NoSchemaIntrospectionCustomRule

from onward.graphql.base import BadRequest
from onward.graphql.execution.compiled_selections import Plan, Planner
from onward.graphql.execution.costs import Cost, cost, defaults
from onward.graphql.execution.limits import Limits, check, long_number
from onward.graphql.execution.masking import of_request
from onward.graphql.meter import Shares


class Named(NamedTuple):
    """One of a document's operations."""

    kind: OperationType
    plan: Plan | None
    cost: Cost
    defaults: Mapping[str, int]  # of its variables that are whole numbers

    def values(self, variables: Mapping[str, Any]) -> int:
        """Estimate the number of values for these variables."""
        return self.cost.of({**self.defaults, **variables})


SHORT = 500  # characters; a longer document is read in a thread, beside other requests


@dataclass(frozen=True, slots=True)
class Document:
    """An executable document, or the public `errors` that make it invalid."""

    node: DocumentNode
    errors: tuple[dict[str, Any], ...] = ()
    named: dict[str | None, Named] = field(default_factory=dict)
    weight: int = 1

    def find(self, name: str | None) -> Named | None:
        """Return the operation of this name, or the only one where no name is given; None if there is none."""
        if name is None:
            return next(iter(self.named.values())) if len(self.named) == 1 else None
        return self.named.get(name)


class Documents:
    """Cached documents, bounded by their tokens for each caller: an attacker's documents evict one another.

    A closed schema refuses introspection, and its errors suggest no names.
    """

    def __init__(
        self, schema: GraphQLSchema, limits: Limits, *, open_schema: bool = True, shares: Shares | None = None
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._hide_suggestions = not open_schema
        self._rules = specified_rules if open_schema else (*specified_rules, NoSchemaIntrospectionCustomRule)
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._weight = 0
        self._thread: ThreadPoolExecutor | None = None  # for long documents
        self.shares = shares or Shares()

    def get(self, text: str) -> Document:
        return self._known(text) or self._keep(text, self._read(text))

    async def find(self, text: str, caller: str = "") -> Document:
        """Find a document. A new one is read in the caller's turn, a long one in a thread.

        Raises BadRequest where its turn does not come in time.
        """
        known = self._known(text)
        if known is not None:
            return known
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                if len(text) <= SHORT:
                    await self.shares.loop.turn(caller)
                    return self.get(text)
                return await self.shares.documents.run(caller, partial(self._find_long, text))
        except TimeoutError:
            message = f"This document was not read within {self._limits.timeout_s:g} s; send it again later."
            raise BadRequest(message, "TIMEOUT") from None

    async def close(self) -> None:
        """Wait for the thread, and end it. May be called twice; a later document starts it again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)

    async def _find_long(self, text: str) -> Document:
        """Read a document in the thread. It is kept even if nobody waits for it any more."""
        known = self._known(text)
        if known is not None:
            return known
        if self._thread is None:
            # Of its own: the loop's default threads serve the metrics, a backend's health and the lease.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="documents")
        return self._keep(text, await asyncio.get_running_loop().run_in_executor(self._thread, self._read_long, text))

    def _known(self, text: str) -> Document | None:
        found = self._kept.get(text)
        if found is not None:
            self._kept.move_to_end(text)
        return found

    def _keep(self, text: str, document: Document) -> Document:
        self._kept[text] = document
        self._weight += document.weight
        while self._weight > self._limits.documents:
            self._weight -= self._kept.popitem(last=False)[1].weight
        return document

    def _read_long(self, text: str) -> Document:
        document = self._read(text)
        gc.collect(1)  # thousands of cyclic objects; collected together later, they would stop every other request
        return document

    def _read(self, text: str) -> Document:
        size = 20 + len(text) // 10
        try:
            node = parse(text, max_lexical_tokens=self._limits.tokens, max_comments=self._limits.tokens)
        except GraphQLError as error:
            return _wrong([error], size)
        excess = long_number(node) or check(node, self._limits)
        _unlink_tokens(node)
        if excess is not None:
            return _wrong([excess], size)
        errors = validate(self._schema, node, self._rules, self._limits.errors, self._hide_suggestions)
        if errors:
            return _wrong(errors[: self._limits.errors], size)
        planner = Planner(self._schema, node)
        named = {
            definition.name.value if definition.name else None: Named(
                # A directive may select other fields with each request; "@" in a string looks like one.
                definition.operation,
                planner.plan(definition) if "@" not in text else None,
                cost(definition.selection_set, planner.definitions),
                defaults(definition),
            )
            for definition in node.definitions
            if isinstance(definition, OperationDefinitionNode)
        }
        return Document(node, (), named, size + node.token_count + planner.fields)


def _unlink_tokens(node: DocumentNode) -> None:
    """Unlink the document's tokens, of which only the positions are used from here on.

    A document that is dropped is then freed at once. The garbage collector would stop all requests for it.
    """
    token = node.loc.start_token if node.loc else None
    while token is not None:
        token.prev, token.next, token = None, None, token.next


def _wrong(errors: Sequence[GraphQLError], size: int) -> Document:
    # Only the public form is kept: an error refers to the document, and by its traceback to the parser.
    return Document(DocumentNode(definitions=()), tuple(of_request(error) for error in errors), weight=size)
