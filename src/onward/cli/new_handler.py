"""Writes a new handler, which is its own mutation, and its test into a project, from `templates/project/`."""

from importlib.util import find_spec
from pathlib import Path

from strawberry.utils.str_converters import to_camel_case

from onward.api import composition
from onward.cli import module_list, samples
from onward.config.settings import Settings, SettingsError, enter
from onward.handlers.base import JobContext, handler
from onward.runtime import handlers

FIXTURES = "onward.testing.fixtures"
LENGTH = 100  # of a name that also becomes a file's


def write(name: str, project: Path) -> list[str]:
    """Write the files, add their modules to settings.toml, and return the lines to print.

    Raises SettingsError before any file is written, but for an empty settings.toml where there was none.
    """
    _check(name)
    settings_file = project / "settings.toml"
    try:
        project.mkdir(exist_ok=True)
        settings_file.touch()
    except OSError as error:
        raise SettingsError(f"{project} cannot be written: {error.strerror}") from error
    settings = enter(project)
    package = _package(settings)
    module = name.replace(".", "_")
    dotted = f"{package}.{module}" if package else module
    made = _files(name, module, dotted, project)
    _refuse_existing(name, settings, sorted(made))
    for file, text in made.items():
        with file.open("x", encoding="utf-8") as written:
            written.write(text)
    lines = [f"wrote {_short(file)}" for file in sorted(made)]
    words = "added to" if module_list.add(settings_file, "handlers", dotted) else "add this by hand to"
    lines.append(f'{words} {_short(settings_file)}: [handlers] modules = ["{dotted}"]')
    return [*lines, *_next_steps(name, project)]


def _package(settings: Settings) -> str:
    """Return the package in the project's folder that the last of the listed modules is in; empty if it is in none."""
    package = settings.handlers.modules[-1].rpartition(".")[0] if settings.handlers.modules else ""
    return package if (settings.project / package.replace(".", "/")).is_dir() else ""


def _files(name: str, module: str, dotted: str, project: Path) -> dict[Path, str]:
    """Return the texts of the module and of its test, by the paths that they are written to."""
    camel = _camel(name)
    texts = samples.files(
        {
            "sample_project.sample_task": dotted,
            "sample.task": name,
            "sample_task": module,
            "sampleTask": camel,
            "SampleTask": camel[0].upper() + camel[1:],
        }
    )
    test = Path("tests", f"test_{module}.py")
    if (project / "src" / "onward").is_dir():  # a clone, whose linter keeps onward's imports apart from the libraries'
        texts[test] = texts[test].replace("import pytest\n", "import pytest\n\n")
    return {
        project / f"{dotted.replace('.', '/')}.py": texts[Path("sample_project", f"{module}.py")],
        project / (test if (project / "tests").is_dir() else test.name): texts[test],
    }


def _next_steps(name: str, project: Path) -> list[str]:
    command = "./onward" if Path("onward").is_file() else "onward"  # the launcher of a clone, or the package's
    onward = command if project == Path.cwd() else f"{command} --project {_short(project)}"
    folder = "" if project == Path.cwd() else f" {_short(project)}"
    test = f"{onward} test" if command == "./onward" else f"pytest{_plugin(project)}{folder}"
    send = f'{{ {_camel(name)}(input: {{text: "Hello there"}}) {{ job {{ id status }} errors {{ message }} }} }}'
    return [f"test it:  {test}", f"serve it: {onward} serve", f"send it:  mutation {send}"]


def _plugin(project: Path) -> str:
    """Return the option that makes the fixtures known, unless the project names them itself."""
    named = (file for file in (project / "pyproject.toml", project / "conftest.py") if file.is_file())
    return "" if any(FIXTURES in file.read_text("utf-8") for file in named) else f" -p {FIXTURES}"


def _check(name: str) -> None:
    async def nothing(job: JobContext) -> None:
        """A handler of that name, to check the name."""

    try:
        handler(name)(nothing)  # a wrong name of a handler is told as such, and not as one of a mutation
        declared = handler(name, mutation=True)(nothing).mutation
    except ValueError as error:
        raise SettingsError(f"{error}, as in orders.confirm") from error
    if declared is None or declared.name != _camel(name):  # the test asks for the name that a reader expects
        raise SettingsError(f"{name}: write single dots and underscores, as in orders.confirm_all")
    if len(name) > LENGTH:
        raise SettingsError(f"a handler's name has at most {LENGTH} characters")


def _refuse_existing(name: str, settings: Settings, files: list[Path]) -> None:
    if name in handlers.load_handlers(settings):
        raise SettingsError(f"there is a handler {name} already")
    mutation = _camel(name)
    mutations = composition.schema(settings)._schema.mutation_type  # noqa: SLF001 - as in composition.py
    if mutations and mutation in mutations.fields:
        raise SettingsError(f"there is a mutation {mutation} already: take another name")
    for file in files:
        if file.exists():
            raise SettingsError(f"{_short(file)} exists already: move it, or take another name")
        if file.parent == settings.project and find_spec(file.stem):
            raise SettingsError(f"there is a module {file.stem} already: take another name")


def _camel(name: str) -> str:
    """Return the mutation's name as the schema derives it from the function's."""
    return to_camel_case(name.replace(".", "_"))


def _short(file: Path) -> str:
    """Return the path as one would type it here."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
