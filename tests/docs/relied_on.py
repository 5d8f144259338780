"""The names that people rely on: settings, commands, metrics and the GraphQL schema, one a line.

They are read from the pages and the schema, which tests hold against the code. relied_on.txt has those of the last
release; `.venv/bin/python -m tests.docs.relied_on` writes it anew, when a release is made.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import graphql

from tests.processes import ROOT

RECORD = Path(__file__).with_name("relied_on.txt")
ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<rest>.*) \|[^|]*\|$", re.MULTILINE)


def names(root: Path) -> list[str]:
    """Return the lines of a tree that holds docs/ and gql/schema.graphql."""
    docs = root / "docs"
    found = [
        *settings((docs / "settings.md").read_text("utf-8")),
        *commands((docs / "commands.md").read_text("utf-8")),
        *metrics((docs / "metrics.md").read_text("utf-8")),
        *schema((root / "gql" / "schema.graphql").read_text("utf-8")),
    ]
    return sorted(found)


def settings(page: str) -> Iterator[str]:
    """Return lines such as `setting auth.mode: its values, its default`."""
    for section in re.split(r"^## ", page, flags=re.MULTILINE):
        head = re.match(r"\[([^\]]+)\]", section)
        table = f"{head[1]}." if head else ""
        for row in ROW.finditer(section):
            yield f"setting {table}{row['name']}: {row['rest']}"


def commands(page: str) -> Iterator[str]:
    """Return lines such as `command ./onward serve`, and `command ./onward serve --port`."""
    for section in page.split("\n## ")[1:]:
        usage = section.partition("\n")[0].strip("`")
        yield f"command {usage}"
        command = re.sub(r" \[?[A-Z]+\]?$", "", usage)
        yield from (f"command {command} {option}" for option in re.findall(r"^- `(--[\w-]+)`", section, re.MULTILINE))


def metrics(page: str) -> Iterator[str]:
    """Return lines such as `metric onward_jobs: its kind, its labels`."""
    for row in ROW.finditer(page):
        yield f"metric {row['name']}: {row['rest']}"


def schema(sdl: str) -> Iterator[str]:
    """Return lines such as `graphql Job.status: JobStatus!`, with an input's default."""
    for name, kind in graphql.build_schema(sdl).type_map.items():
        if name.startswith("__") or graphql.is_specified_scalar_type(kind):
            continue
        yield f"graphql {name}: {kind.ast_node.kind.removesuffix('_definition') if kind.ast_node else ''}"
        yield from (f"graphql {name}: implements {one.name}" for one in getattr(kind, "interfaces", ()))
        yield from (f"graphql {name}: member {one.name}" for one in getattr(kind, "types", ()))
        yield from (f"graphql {name}.{value}" for value in getattr(kind, "values", ()))
        for field, found in getattr(kind, "fields", {}).items():
            yield f"graphql {name}.{field}: {graphql.print_ast(found.ast_node.type)}{_default(found)}"
            for argument, given in getattr(found, "args", {}).items():
                yield f"graphql {name}.{field}({argument}): {given.type}{_default(given)}"


def _default(found: graphql.GraphQLArgument | graphql.GraphQLInputField | graphql.GraphQLField) -> str:
    value = getattr(found.ast_node, "default_value", None)
    return f" = {graphql.print_ast(value)}" if value is not None else ""


def unannounced(recorded: list[str], present: list[str], changelog: str) -> list[str]:
    """Return recorded lines that are gone or different, and that the changelog's top does not name in backticks."""
    top = changelog.split("\n## ")[1]
    lost = [line for line in recorded if line not in set(present)]
    return [line for line in lost if f"`{name_of(line)}`" not in top]


def name_of(line: str) -> str:
    """Return the name in a line: `auth.mode`, `./onward serve --port`, `onward_jobs`, `Job.status`."""
    return line.partition(" ")[2].partition(": ")[0].partition("(")[0]


if __name__ == "__main__":
    RECORD.write_text("\n".join([*names(ROOT), ""]), "utf-8")
