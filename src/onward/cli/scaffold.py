"""A new handler in a project: its module, its mutation's and their test, made from `templates/handler/`."""

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
    """The handler, its mutation and their test are files of the project; gives what there is to tell.

    settings.toml names the modules, unless it is written in a way that they could not be added to.
    Raises SettingsError, and then no file was written, but for an empty settings.toml where there was none.
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
    _refuse_what_is_there(name, enter(project), sorted(made))
    for file, text in made.items():
        with file.open("x", encoding="utf-8") as written:
            written.write(text)
    told = [f"wrote {_short(file)}" for file in sorted(made)]
    for table, further in (("handlers", module), ("gql", f"{module}_api")):
        added = module_list.add(settings_file, table, further)
        words = "added to" if added else "this is left for you to add to"
        told.append(f'{words} {_short(settings_file)}: [{table}] modules = ["{further}"]')
    onward = f"./onward --project {_short(project)}"
    send = f'{{ {_camel(name)}(input: {{text: "Hello there"}}) {{ job {{ id status }} errors {{ message }} }} }}'
    return [*told, f"test it:  {onward} test", f"serve it: {onward} serve", f"send it:  mutation {send}"]


def _check(name: str) -> None:
    async def nothing(job: JobContext) -> None:
        """What a handler of that name would be made of."""

    try:
        handler(name)(nothing)
    except ValueError as error:
        raise SettingsError(f"{error}, as in orders.confirm") from error
    if len(name) > LENGTH:
        raise SettingsError(f"a handler's name has at most {LENGTH} characters")


def _refuse_what_is_there(name: str, settings: Settings, files: list[Path]) -> None:
    if name in handlers.load_handlers(settings):
        raise SettingsError(f"there is a handler {name} already")
    mutation = _camel(name)
    mutations = composition.schema(settings)._schema.mutation_type  # noqa: SLF001 - as in composition.py
    if mutations and mutation in mutations.fields:
        raise SettingsError(f"there is a mutation {mutation} already: take another name")
    for file in files:
        if file.exists():
            raise SettingsError(f"{_short(file)} is there already, and is left as it is")
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
    """The mutation's name, as the schema makes it of its function's."""
    return to_camel_case(name.replace(".", "_"))


def _short(file: Path) -> str:
    """The path as one would type it here."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
