"""The words of docs/contributing.md: docstrings open plainly, and names are the standard ones."""

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONG = 300  # lines of a file that needs no reason for them
OPENINGS = re.compile(
    r'^[ ]*r?"""((?:They|It|Its|There|Whether|Who|What|Whose|Whom|That|Which|Whatever|Whoever|However|Nor|And|Also|But'
    r"|Else|So|Though|Likewise|Those|These|As|Then|Such)\b[^\n]*)",
    re.MULTILINE,
)
FORMER = re.compile(
    r"\b_?(?:begun|bury|carry|courier|deaths|hand_over|insist|kit|law|let_out|look_about|makes_up|mend|patience_s|see_off|settle"
    r"|sort_out|strays|told|unsaid|welcome_elsewhere)\b(?= ?[=:,()]| in |$)"
)


def sources() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines()]


def names_in(text: str) -> set[str]:
    """Return the names that the code defines: functions, classes, parameters, variables, attributes."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.arg(arg=name)
            ):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                found.add(name)
    return found


def test_no_docstring_opens_with_a_pronoun_or_a_conjunction() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[1]}"
        for path in sources()
        for match in OPENINGS.finditer(path.read_text("utf-8"))
    ]
    assert found == []


def test_no_name_is_of_the_former_vocabulary() -> None:
    suspects = [(path, text) for path in sources() if FORMER.search(text := path.read_text("utf-8"))]
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in suspects
        for name in names_in(text)
        if FORMER.fullmatch(name)
    }
    assert found == set()


def test_a_long_file_of_the_library_says_why_it_is_long() -> None:
    heads = {
        path.relative_to(ROOT): " ".join((ast.get_docstring(ast.parse(text)) or "").split())
        for path in (ROOT / "src" / "onward").rglob("*.py")
        if (text := path.read_text("utf-8")).count("\n") > LONG
    }
    silent = [str(path) for path, head in heads.items() if "The file is long because" not in head]
    assert silent == []
