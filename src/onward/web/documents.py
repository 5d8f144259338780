"""The GraphQL documents that the console sends, for a server that answers no others."""

from pathlib import Path

from graphql import FragmentDefinitionNode, FragmentSpreadNode, OperationDefinitionNode, Visitor, parse, visit
from graphql.language import ExecutableDefinitionNode

HERE = Path(__file__).resolve().parent
OPERATIONS = HERE / "operations"


def documents() -> tuple[str, ...]:
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
