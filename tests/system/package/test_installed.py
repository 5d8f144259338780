"""The installed package works outside of the clone: with its base alone, without npm or a network."""

import re
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes import graphql, wait_until
from tests.system.package.environments import Environment
from tests.system.package.served import serving

pytestmark = pytest.mark.slow
SEND = 'mutation { ordersConfirm(input: {text: "pen and ink"}) { job { id } errors { message } } }'
JOB = "query ($id: ID!) { job(id: $id) { status result } }"
OPTIONAL = ("aiosmtplib", "dramatiq", "jwt", "opentelemetry.sdk", "psycopg", "pytest", "redis")
NEEDS = [
    ("postgres", "database.url: postgresql://", {"ONWARD_DATABASE__URL": "postgresql://onward@127.0.0.1/onward"}),
    ("dramatiq", 'backend: "dramatiq"', {"ONWARD_BACKEND": "dramatiq"}),
    ("dramatiq", 'routes."email.*": "dramatiq"', {"ONWARD_ROUTES": '{"email.*": "dramatiq"}'}),
    ("smtp", 'email.transport: "smtp"', {"ONWARD_EMAIL__TRANSPORT": "smtp"}),
    ("jwt", 'auth.mode: "jwt"', {"ONWARD_AUTH__MODE": "jwt", "ONWARD_AUTH__JWT__SECRET": "s" * 32}),
    ("otel", "telemetry.traces", {"ONWARD_TELEMETRY__TRACES": "console"}),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with modules of the former names of Onward's own."""
    for name in ("app", "settings", "jobs", "progress"):
        (tmp_path / f"{name}.py").write_text(f'NAME = "{name} of the project"\n')
    (tmp_path / "settings.toml").write_text("")
    return tmp_path


def fetch(address: str, path: str, accept: str) -> str:
    request = urllib.request.Request(address + path, headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def test_the_base_installs_one_name_and_no_optional_package(base: Environment, tmp_path: Path) -> None:
    record = next(base.packages.glob("onward-*.dist-info")) / "RECORD"
    ours = {line.partition("/")[0] for line in record.read_text().splitlines() if not line.startswith("..")}
    assert ours == {"onward", record.parent.name}
    look = f"from importlib.util import find_spec as f; print([n for n in {OPTIONAL} if f(n.split('.')[0]) and f(n)])"
    assert base.run("python", "-c", look, project=tmp_path).stdout == "[]\n"


def test_a_folder_is_served_with_its_pages_and_runs_its_jobs(project: Path, base: Environment) -> None:
    written = base.run("onward", "new", "handler", "orders.confirm", project=project)
    assert written.returncode == 0, written.stderr
    assert "serve it: onward serve" in written.stdout
    (project / "orders_confirm.py").write_text(
        (project / "orders_confirm.py").read_text() + "\n\nimport app, jobs, progress, settings\n"
        "assert app.NAME + jobs.NAME + progress.NAME + settings.NAME\n"
    )
    with serving(base, project) as api:
        address = api.serving()
        job = graphql(address, SEND)["ordersConfirm"]["job"]["id"]
        wait_until(lambda: graphql(address, JOB, id=job)["job"]["status"] == "SUCCEEDED")
        page = fetch(address, "/graphql", "text/html")
        (script,) = re.findall(r'src="(static/explorer/[0-9a-f]{16}/assets/[^"]+[.]js)"', page)
        assert len(fetch(address, f"/{script}", "*/*")) > 100_000
        (script,) = re.findall(
            r'src="(static/console/[0-9a-f]{16}/assets/[^"]+[.]js)"', fetch(address, "/", "text/html")
        )
        assert len(fetch(address, f"/{script}", "*/*")) > 50_000
        assert api.end() == 0
    assert not any((base.packages / "onward/web" / name).exists() for name in ("console", "explorer"))


DEADLY = """import os
from pathlib import Path
from onward import JobContext, handler


@handler("orders.confirm", mutation=True)
async def confirm(job: JobContext, *, text: str) -> int:
    died = len(list(Path(".").glob("died-*")))
    if died < 2:
        Path(f"died-{died}").touch()
        os._exit(9)
    return os.getpid()
"""


@pytest.mark.long
def test_a_job_whose_runner_died_twice_runs_isolated_with_the_base(project: Path, base: Environment) -> None:
    """The job runs in a worker's process, without Dramatiq."""
    assert base.run("onward", "new", "handler", "orders.confirm", project=project).returncode == 0
    (project / "orders_confirm.py").write_text(DEADLY)
    with serving(base, project) as api:
        address = api.serving()
        with suppress(ConnectionError):  # it may die before its answer has left
            graphql(address, SEND)
        assert api.process.wait(60) == 9
    with serving(base, project) as api:
        assert api.process.wait(60) == 9
    with serving(base, project) as api:
        address = api.serving()
        newest = "{ jobs(first: 1) { nodes { status result } } }"
        wait_until(lambda: graphql(address, newest)["jobs"]["nodes"][0]["status"] == "SUCCEEDED")
        assert graphql(address, newest)["jobs"]["nodes"][0]["result"] != api.process.pid


def test_a_setting_says_which_extra_it_needs(project: Path, base: Environment) -> None:
    for extra, key, variables in NEEDS:
        look = (
            "from onward.config.settings import enter, SettingsError\ntry: enter()\nexcept SettingsError as e: print(e)"
        )
        output = base.run("python", "-c", look, project=project, **variables).stdout
        assert output == f'{key} needs the extra "{extra}": pip install "onward[{extra}]"\n'


def test_a_command_without_its_extra_ends_with_the_extra_s_name(project: Path, base: Environment) -> None:
    _, key, variables = NEEDS[1]
    for command in ("check", "worker"):
        output = base.run("onward", command, project=project, **variables)
        line = f'onward: {key} needs the extra "dramatiq": pip install "onward[dramatiq]"\n'
        assert (output.returncode, output.stderr) == (2, line)


def test_fixtures_for_tests_say_which_extra_they_need(project: Path, base: Environment) -> None:
    output = base.run("python", "-c", "import onward.testing.fixtures", project=project)
    assert 'onward.testing needs the extra "testing": pip install "onward[testing]"' in output.stderr


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("bench", "benchmarks/ is not in this installation: run the command in a clone of the repository"),
        ("faults", "tests/ is not in this installation: run the command in a clone of the repository"),
        (
            "serve",
            (
                "settings.toml is missing: name its folder, by --project or in Onward.from_settings, or write a project"
                " by `onward new project NAME`"
            ),
        ),
    ],
)
def test_an_unavailable_command_gives_the_reason_in_one_line(
    base: Environment, tmp_path: Path, command: str, line: str
) -> None:
    output = base.run("onward", command, project=tmp_path)
    assert output.returncode == 2
    assert output.stderr.count("\n") == 1
    assert output.stderr.endswith(f"{line}\n")


def test_the_generated_test_passes(project: Path, tested: Environment) -> None:
    assert tested.run("onward", "new", "handler", "orders.confirm", project=project).returncode == 0
    done = tested.run("python", "-m", "pytest", "-q", "-p", "onward.testing.fixtures", project=project)
    assert "3 passed" in done.stdout, done.stdout + done.stderr
