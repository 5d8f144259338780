"""The GraphQL documents that the pages send, for a server that answers no others."""

import re
from pathlib import Path

from graphql import FragmentDefinitionNode, FragmentSpreadNode, OperationDefinitionNode, Visitor, parse, visit
from graphql.language import ExecutableDefinitionNode

HERE = Path(__file__).resolve().parent
QUERIES = HERE / "static" / "jobs" / "queries.js"
OPERATIONS = HERE / "operations"
CONSTANT = re.compile(r"^(export )?const (\w+) = ((?:'[^']*'|`[^`]*`|\s|\+)+);$", re.MULTILINE)
PART = re.compile(r"'([^']*)'|`([^`]*)`")
REFERENCE = re.compile(r"\$\{(\w+)\}")


def documents() -> tuple[str, ...]:
    """Return the documents exactly as the pages send them."""
    return (*of_jobs_page(), *of_console())


def of_jobs_page() -> tuple[str, ...]:
    """Return the documents as the jobs page's constants evaluate to in a browser."""
    known: dict[str, str] = {}
    sent = []
    for export, name, value in CONSTANT.findall(QUERIES.read_text("utf-8")):
        known[name] = "".join(
            plain or REFERENCE.sub(lambda match: known[match[1]], template) for plain, template in PART.findall(value)
        )
        if export:
            sent.append(known[name])
    return tuple(sent)


def of_console() -> tuple[str, ...]:
    """Return each operation, followed by the fragments that it needs, as `console/codegen.mjs` joins them."""
    definitions = [
        definition
        for path in sorted(OPERATIONS.glob("*.graphql"))
        for definition in parse(path.read_text("utf-8")).definitions
        if isinstance(definition, ExecutableDefinitionNode)
    ]
    fragments = {one.name.value: one for one in definitions if isinstance(one, FragmentDefinitionNode)}
    return tuple(
        "\n".join(_text(part) for part in _with_fragments(one, fragments))
        for one in definitions
        if isinstance(one, OperationDefinitionNode)
    )


def _with_fragments(
    operation: OperationDefinitionNode, fragments: dict[str, FragmentDefinitionNode]
) -> list[ExecutableDefinitionNode]:
    found: list[ExecutableDefinitionNode] = [operation]

    class Spreads(Visitor):
        def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
            if (fragment := fragments[node.name.value]) not in found:
                found.append(fragment)

    for one in found:  # which grows meanwhile
        visit(one, Spreads())
    return found


def _text(definition: ExecutableDefinitionNode) -> str:
    loc = definition.loc
    assert loc is not None  # noqa: S101 - the parser was asked for it
    return loc.source.body[loc.start : loc.end]
