"""Writes a new handler, which is its own mutation, and its test into a project, from `templates/handler/`."""

from importlib.util import find_spec
from pathlib import Path

from strawberry.utils.str_converters import to_camel_case

from onward.api import composition
from onward.cli import module_list
from onward.config.settings import Settings, SettingsError, enter
from onward.handlers.base import JobContext, handler
from onward.runtime import handlers

SAMPLE = Path(__file__).parents[1] / "templates" / "handler"
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
    module = name.replace(".", "_")
    made = {project / file.name.replace("sample_task", module): _renamed(file, name) for file in SAMPLE.glob("*.py")}
    _refuse_existing(name, enter(project), sorted(made))
    for file, text in made.items():
        with file.open("x", encoding="utf-8") as written:
            written.write(text)
    lines = [f"wrote {_short(file)}" for file in sorted(made)]
    words = "added to" if module_list.add(settings_file, "handlers", module) else "add this by hand to"
    lines.append(f'{words} {_short(settings_file)}: [handlers] modules = ["{module}"]')
    command = "./onward" if Path("onward").is_file() else "onward"  # the launcher of a clone, or the package's
    onward = command if project == Path.cwd() else f"{command} --project {_short(project)}"
    test = f"{onward} test" if command == "./onward" else f"pytest -p onward.testing.fixtures {_short(project)}"
    send = f'{{ {_camel(name)}(input: {{text: "Hello there"}}) {{ job {{ id status }} errors {{ message }} }} }}'
    return [*lines, f"test it:  {test}", f"serve it: {onward} serve", f"send it:  mutation {send}"]


def _check(name: str) -> None:
    async def nothing(job: JobContext) -> None:
        """A handler of that name, to check the name."""

    try:
        handler(name)(nothing)
    except ValueError as error:
        raise SettingsError(f"{error}, as in orders.confirm") from error
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
        if find_spec(file.stem):
            raise SettingsError(f"there is a module {file.stem} already: take another name")


def _renamed(file: Path, name: str) -> str:
    module, camel = name.replace(".", "_"), _camel(name)
    text = file.read_text("utf-8")
    for sample, real in (
        ("sample.task", name),
        ("sample_task", module),
        ("sampleTask", camel),
        ("SampleTask", camel[0].upper() + camel[1:]),
    ):
        text = text.replace(sample, real)
    return text


def _camel(name: str) -> str:
    """Return the mutation's name as the schema derives it from the function's."""
    return to_camel_case(name.replace(".", "_"))


def _short(file: Path) -> str:
    """Return the path as one would type it here."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
