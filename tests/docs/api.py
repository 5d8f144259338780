"""docs/api.md: the public Python names, read from the source so that every Python writes the same page."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import onward
from tests.docs.fences import fences
from tests.processes import ROOT

HEAD = """# API

The public Python names. Their names, parameters and meanings change only together with a line in CHANGELOG.md.
Every other module, and every name that is missing here, is private: it may change with any release.

Handlers need `onward` alone. `onward.graphql` is for [mutations that you write by hand](mutations.md),
`onward.backends.base` is for [a backend of your own](adding-a-backend.md), and `onward.testing` is for
[tests](testing-your-jobs.md).
"""


@dataclass(frozen=True)
class Public:
    """The public names of one module, and the sentence that introduces them."""

    words: str
    names: tuple[str, ...]


PUBLIC = {
    "onward": Public("Handlers, and the types that they meet.", tuple(onward.__all__)),
    "onward.synchronous": Public("`onward.sync`, for code without an event loop.", ("Sync",)),
    "onward.handlers.context": Public("`job.tools`.", ("Tools", "Mailer", "Log")),
    "onward.handlers.results": Public("The error of a `ChildResult`.", ("ChildError",)),
    "onward.graphql.enqueue": Public(
        "Accept a job from a resolver.", ("accept", "Accepted", "Companion", "ReplaceParams", "MutationError")
    ),
    "onward.handlers.types": Public("Texts that people type, as types of parameters.", ("Text", "Email", "Username")),
    "onward.graphql.send": Public("The short form of a mutation written by hand.", ("send", "JobPayload")),
    "onward.graphql.context": Public("The context of a resolver.", ("Info", "Context", "of")),
    "onward.graphql.guard": Public("Guard a mutation in a schema of your own.", ("Guard",)),
    "onward.graphql.validation": Public("Check an input.", ("checked",)),
    "onward.graphql.types.job": Public("The GraphQL type `Job`.", ("Job",)),
    "onward.graphql.types.user_error": Public("The GraphQL type `UserError`.", ("UserError",)),
    "onward.graphql.types.enums": Public("The codes of a `UserError`.", ("UserErrorCode",)),
    "onward.graphql.types.node": Public("The GraphQL interface `Node`.", ("Node",)),
    "onward.graphql.inputs": Public("Faster input types.", ("scalar_input",)),
    "onward.graphql.queries": Public("Read in a resolver.", ("read", "job", "node")),
    "onward.jobs.model": Public(
        "Jobs as values: `accept` and `TestApp` return them, and errors hold them. Times are microseconds since 1970.",
        ("Job", "Progress", "Step", "Attempt", "JobError", "JobWait"),
    ),
    "onward.jobs.states": Public("The states of jobs and steps.", ("JobStatus", "StepStatus")),
    "onward.jobs.batches": Public("A batch as a value: a `BatchConflict` holds one.", ("Batch", "BatchState")),
    "onward.storage.sql": Public("Statements on tables of your own.", ("insert_new",)),
    "onward.storage.base": Public(
        "Errors of the ledger's database.", ("StorageError", "TransactionEnded", "Unavailable")
    ),
    "onward.text.normalization": Public("Normalise text.", ("nfc",)),
    "onward.mail.message": Public("Compose a message for `job.tools.mailer`.", ("mailbox", "compose", "visible")),
    "onward.backends.base": Public(
        "The interface of a backend.",
        ("Backend", "BackendError", "Role", "Delivery", "Health", "Run", "Defer"),
    ),
    "onward.findings": Public("What a backend's `check` returns.", ("Finding", "State")),
    "onward.testing.app": Public("The application under test.", ("TestApp",)),
    "onward.testing.fixtures": Public(
        "Fixtures for pytest.",
        ("onward_tables", "onward_immediate", "onward_recording", "backend_fixture", "harness"),
    ),
    "onward.testing.backend_fixture": Public("A backend, described for the conformance suite.", ("BackendFixture",)),
    "onward.testing.conformance": Public("The conformance suite.", ("Conformance",)),
    "onward.testing.harness": Public("The running backend of a conformance test.", ("Harness", "open_harness")),
    "onward.testing.job": Public("A job for a test that calls a step's function itself.", ("FakeJob",)),
    "onward.testing.waiting": Public("Wait in a test.", ("until",)),
}
MEMBERS = {  # of classes that are public in part
    "Context": {"viewer"},
    "Handler": {"name", "retry", "timeout", "secret", "job"},
    "Tx": {"dialect", "now", "insert", "all", "one", "execute", "new_id"},
    "Viewer": {"subject", "roles", "until", "__init__"},
    "insert_new": set(),
}
HANDED_OUT = {
    "Context",
    "Harness",
    "Ledger",
    "Results",
    "Sync",
    "TestApp",
    "Tx",
    "UserError",
    "Handler",
}  # nobody else constructs them
ENTERED = {"__aenter__", "__enter__", "__aiter__", "__iter__"}  # shown wherever a public class has them
WIDTH = 100
Defined = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    return "\n".join([HEAD, *(part for module, public in PUBLIC.items() for part in _module(module, public))])


def _module(module: str, public: Public) -> Iterator[str]:
    yield f"## {module}\n\n{public.words}\n"
    for name in public.names:
        yield from _name(module, name)


def _name(module: str, name: str) -> Iterator[str]:
    """Return a heading, the code without its bodies, the docstring's first paragraph, and a table of members."""
    found, words = _definition(module, name)
    yield f"### {name}\n"
    if isinstance(found, ast.ClassDef):
        members = [member for member in found.body if _is_public(member, name)]
        lines = [line for member in members for line in _stub(member)]
        bases = ", ".join(ast.unparse(base) for base in found.bases)
        head = f"class {name}({bases})" if bases else f"class {name}"
        marks = [f"@{ast.unparse(one)}" for one in found.decorator_list if "dataclass" in ast.unparse(one)]
        shown = [f"{head}:", *(f"    {line}" for line in lines)] if lines else [f"{head}: ..."]
        yield _python([*marks, *shown])
        yield _words(found)
        rows = [f"| `{m.name}` | {_words(m)} |" for m in members if isinstance(m, Defined) and _words(m)]
        if rows:
            yield "\n".join(["", "| member | |", "|---|---|", *rows])
        yield ""
        return
    shown = list(_stub(found)) if isinstance(found, Defined) else ast.unparse(found).splitlines()
    yield f"{_python(shown)}\n{words or _words(found)}\n".rstrip() + "\n"


def _python(lines: list[str]) -> str:
    return "\n".join(["```python", *lines, "```", ""])


def _definition(module: str, name: str) -> tuple[ast.stmt, str]:
    """Return the statement that defines a public name, and the text below it if it is an assignment."""
    if module == "onward":
        value = getattr(onward, name)
        module = getattr(value, "__module__", None) or "onward.handlers.context"
        module = "onward.handlers.context" if name == "JSON" else module
    body = ast.parse(inspect.getsource(import_module(module))).body
    found: ast.stmt | None = None
    words = ""
    for number, statement in enumerate(body):
        if isinstance(statement, Defined) and statement.name == name:
            found = statement  # the last one, as overloads come first
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        target = statement.target if isinstance(statement, ast.AnnAssign) else next(iter(targets), None)
        if isinstance(target, ast.Name) and target.id == name:
            found, words = statement, _below(body[number + 1 :])
    if found is None:
        raise LookupError(f"{module} does not define {name}")
    return found, words


def _below(statements: list[ast.stmt]) -> str:
    following = next(iter(statements), None)
    is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    return _paragraph(str(following.value.value)) if is_text else ""  # type: ignore[union-attr]


def _is_public(member: ast.stmt, owner: str) -> bool:
    if owner in MEMBERS and _name_of(member) not in MEMBERS[owner]:
        return False
    if isinstance(member, Defined):
        return (
            not member.name.startswith("_")
            or member.name in ENTERED
            or (member.name in {"__init__", "__call__"} and owner not in HANDED_OUT and _takes_more(member))
        )
    return _name_of(member)[:1] not in {"", "_"}


def _name_of(member: ast.stmt) -> str:
    """Return the name that a statement of a class defines: of a method, a field, or a member of an enumeration."""
    target = member.targets[0] if isinstance(member, ast.Assign) else getattr(member, "target", None)
    return target.id if isinstance(target, ast.Name) else getattr(member, "name", "")


def _takes_more(member: Defined) -> bool:
    return isinstance(member, ast.ClassDef) or len(member.args.args) + len(member.args.kwonlyargs) > 1


def _stub(member: ast.stmt) -> Iterator[str]:
    """Return the code of a member without its body."""
    if isinstance(member, ast.AnnAssign | ast.Assign):
        yield ast.unparse(member)
    elif isinstance(member, ast.ClassDef):
        yield f"class {member.name}: ..."
    elif isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
        kept = [ast.unparse(one).removeprefix("cached_") for one in member.decorator_list]
        yield from (f"@{one}" for one in kept if one in {"property", "abstractmethod", "classmethod", "staticmethod"})
        word = "async def" if isinstance(member, ast.AsyncFunctionDef) else "def"
        returns = f" -> {ast.unparse(member.returns)}" if member.returns else ""
        parameters = list(_parameters(member.args))
        line = f"{word} {member.name}({', '.join(parameters)}){returns}: ..."
        if len(line) <= WIDTH:
            yield line
            return
        yield from (f"{word} {member.name}(", *(f"    {one}," for one in parameters), f"){returns}: ...")


def _parameters(given: ast.arguments) -> Iterator[str]:
    """Return the parameters as they are written, each by itself."""
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    for number, (one, default) in enumerate(zip(plain, defaults, strict=True), start=1):
        yield _parameter(one, default)
        if number == len(given.posonlyargs):
            yield "/"
    if given.vararg:
        yield f"*{_parameter(given.vararg, None)}"
    elif given.kwonlyargs:
        yield "*"
    yield from (_parameter(one, default) for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True))
    if given.kwarg:
        yield f"**{_parameter(given.kwarg, None)}"


def _parameter(one: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(one.annotation)}" if one.annotation else ""
    equals = " = " if kind else "="
    return f"{one.arg}{kind}{equals}{ast.unparse(default)}" if default else f"{one.arg}{kind}"


def _words(found: ast.stmt) -> str:
    return _paragraph(ast.get_docstring(found) or "") if isinstance(found, Defined) else ""


def _paragraph(text: str) -> str:
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split()).replace("|", "\\|")


def imported(text: str) -> Iterator[tuple[str, str]]:
    """Return the names that code imports from the package, each with its module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "onward":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "*") for alias in node.names if alias.name.partition(".")[0] == "onward")


def shown_code() -> Iterator[tuple[str, str]]:
    """Return all code that people copy: the application, the examples, the templates and the pages' blocks."""
    folders = ("gql", "handlers", "database", "examples", "src/onward/templates")
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        if "node_modules" not in file.parts:
            yield str(file.relative_to(ROOT)), file.read_text("utf-8")
    pages: list[Path] = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for one in pages:
        if one.name != "api.md":
            for fence in fences(one):
                if fence.language == "python":
                    yield f"{one.name}:{fence.line}", fence.text
