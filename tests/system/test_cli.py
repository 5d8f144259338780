"""The commands as people type them: real processes, real exit codes."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from rich.console import Console

from onward import JobRequest, batch
from onward.backends.base import Backend, Defer, Delivery, Health, Run
from onward.cli import job_text, main, terminal
from onward.config import settings
from onward.jobs import ledger
from onward.jobs.batch_making import Making
from onward.jobs.log_lines import LogBatch, Piece
from onward.jobs.model import JobChunk, JobError, NewJob, Progress
from onward.runtime import backends
from onward.storage.writer import Writer
from onward.supervisor import private_redis
from tests import application
from tests.ledgers import accept, writing
from tests.processes import Running, environment, graphql, onward, running, wait_until
from tests.servers import free_port

PROCESS = "mutation ($item: String!) { processItem(input: {item: $item}) { job { id } errors { message } } }"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    application.write(tmp_path, "[server]\nport = 0\n")
    return tmp_path


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a ledger without jobs, which tests only read."""
    project = tmp_path_factory.mktemp("empty")
    application.write(project)
    assert onward("migrate", project=project).returncode == 0
    return project


@pytest.fixture
def waiting(project: Path) -> Iterator[tuple[Path, str]]:
    """A project with a job that waits, because it went to Dramatiq and there is no Redis."""
    application.write(
        project,
        f'backend = "dramatiq"\n[server]\nport = 0\n[backends.dramatiq]\nurl = "redis://127.0.0.1:{free_port()}/0"\n',
    )
    with running("serve", project=project) as api:
        job = graphql(api.serving(), PROCESS, item="words")["processItem"]["job"]["id"]
        yield project, job


def refused(*arguments: str, project: Path, **variables: str) -> str:
    outcome = onward(*arguments, project=project, **variables)
    assert (outcome.returncode, outcome.stdout) == (2, ""), outcome
    assert outcome.stderr.count("\n") == 1, outcome.stderr
    return outcome.stderr


@pytest.mark.parametrize(
    "command",
    ["serve", "worker", "up", "check", "migrate", "backup x", "schema", "jobs list", "jobs show x", "jobs cancel x"],
)
def test_wrong_settings_stop_every_command_with_one_line(command: str, project: Path) -> None:
    words = refused(*command.split(), project=project, ONWARD_SERVER__PORT="many")
    assert "server.port" in words


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_port_in_use_is_reported_in_one_line(command: str, project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port} of 127.0.0.1 is in use" in (said := refused(command, "--port", port, project=project))
        assert sys.platform != "linux" or f" by process {os.getpid()} (" in said


def test_open_mode_is_refused_on_a_public_address(project: Path) -> None:
    assert 'auth.mode is "open"' in refused("serve", "--host", "0.0.0.0", project=project)


def test_open_mode_is_refused_on_an_inherited_public_socket(project: Path) -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as port,
        running("serve", "--fd", str(port.fileno()), project=project, descriptors=(port.fileno(),)) as api,
    ):
        api.wait_for('auth.mode is "open"')
        assert api.process.wait() == 2
    assert "not an inherited socket" in refused("serve", "--fd", "0", project=project)


def test_an_invalid_host_is_reported_in_one_line(project: Path) -> None:
    assert "server.host" in refused("serve", "--host", "no.such.host.invalid", project=project)
    assert "192.0.2.1 is not an address of this machine" in refused(
        "serve", "--host", "192.0.2.1", project=project, ONWARD_AUTH__ALLOW_PUBLIC="true"
    )


@pytest.mark.parametrize("command", ["serve", "worker", "jobs list"])
def test_an_unreachable_ledger_is_reported_in_one_line(command: str, project: Path) -> None:
    url = f"postgresql://onward:s3cret@127.0.0.1:{free_port()}/onward"
    words = refused(*command.split(), project=project, ONWARD_DATABASE__URL=url, ONWARD_BACKEND="dramatiq")
    assert "ledger" in words
    assert "s3cret" not in words


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_place_that_no_ledger_can_be_in_is_named_with_its_setting(command: str, project: Path) -> None:
    words = refused(*command.split(), project=project, ONWARD_DATABASE__URL="sqlite:////proc/no/onward.db")
    assert "database.url: /proc/no/onward.db cannot be used" in words
    assert words.endswith("give a place that this user may write\n"), "and says it once"


def test_a_folder_in_place_of_a_ledger_is_called_one(project: Path) -> None:
    words = refused("serve", project=project, ONWARD_DATABASE__URL="sqlite:///.")
    assert words == f"onward: database.url: {project} is a folder: name a file in it, as in {project / 'onward.db'}\n"


def test_missing_modules_are_reported_in_one_line(project: Path) -> None:
    assert "handlers.modules" in refused("serve", project=project, ONWARD_HANDLERS__MODULES='["nowhere"]')
    assert "gql.modules" in refused("serve", project=project, ONWARD_GQL__MODULES='["nowhere"]')
    assert "gql.modules" in refused("schema", project=project, ONWARD_GQL__MODULES='["nowhere"]')


def test_missing_permissions_are_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The target of a backup lies in a folder of root's, for example; a test that runs as root is refused nothing."""
    with pytest.raises(typer.Exit) as end, main._errors_in_one_line():
        raise PermissionError(13, "Permission denied", "/elsewhere/copy.db")
    assert end.value.exit_code == 2
    assert capsys.readouterr().err.startswith("onward: this user may not use /elsewhere/copy.db: ")


def test_a_worker_without_jobs_to_run_is_refused(project: Path) -> None:
    assert "dramatiq" in refused("worker", "--processes", "1", project=project)


@pytest.mark.parametrize("arguments", [["serve", "--project", "shop"], ["jobs", "list", "--project=shop"]])
def test_a_project_after_the_command_is_reported_with_its_right_place(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["onward", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main.run()
    assert f"goes before the command: onward --project shop {arguments[0]}" in capsys.readouterr().err


def test_a_worker_without_redis_says_once_what_check_says(project: Path) -> None:
    """The worker does not repeat it every three seconds for each queue; it stays up, and begins when Redis is there."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    application.write(project, f'backend = "dramatiq"\n[backends.dramatiq]\nurl = "{url}"\n')
    with running("worker", "--processes", "1", project=project) as worker:
        worker.wait_for("worker is up")
        (line,) = [line for line in worker.output().splitlines() if "backends.dramatiq.url" in line]
        assert "does not answer" in line
        assert "Consumer encountered" not in worker.output()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def confirm(job): ...", "decorate a function with @handler"),
        ("import a_package_of_nobody", "pip install a_package_of_nobody"),
        (None, "put the module into the folder of settings.toml"),
    ],
)
def test_a_module_that_cannot_be_used_says_how_to_fix_it(text: str | None, words: str, project: Path) -> None:
    if text is not None:
        (project / "shop_c10.py").write_text(text)
    application.write(project, '[handlers]\nmodules = ["shop_c10"]\n')
    refused = onward("serve", "--port", "0", project=project)
    assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr


def test_the_schema_is_printed_without_a_database(project: Path) -> None:
    outcome = onward("schema", project=project, ONWARD_DATABASE__URL=f"postgresql://127.0.0.1:{free_port()}/no")
    assert outcome.returncode == 0
    assert "type Mutation" in outcome.stdout
    assert not (project / "var").exists()


def test_serve_runs_the_main_job_and_shuts_down_cleanly(project: Path) -> None:
    with running("serve", project=project) as api:
        address = api.serving()
        job = graphql(address, PROCESS, item="two words")["processItem"]["job"]["id"]
        outcome = onward("jobs", "watch", job, project=project)
        assert (outcome.returncode, outcome.stdout.split()[-1]) == (0, "SUCCEEDED")
        assert api.end() == 0
    shown = json.loads(onward("jobs", "show", job, "--json", project=project).stdout)
    assert [step["status"] for step in shown["steps"]] == ["SUCCEEDED"] * 3
    assert shown["startedAt"] >= shown["createdAt"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_serve_with_0(number: signal.Signals, project: Path) -> None:
    with running("serve", project=project) as api:
        api.serving()
        api.process.send_signal(number)
        assert api.process.wait(20) == 0


def test_modules_of_the_project_are_found_and_hide_no_other(project: Path) -> None:
    (project / "app.py").write_text("raise RuntimeError('this is not the application')")
    (project / "typing.py").write_text("raise RuntimeError('this is not the library')")
    (project / "shop.py").write_text(
        "from onward.handlers.base import handler\n\n"
        "@handler('orders.confirm')\nasync def confirm(job, *, order: int) -> None: ...\n\n"
        "HANDLERS = (confirm,)\n"
    )
    outcome = onward("check", project=project, ONWARD_HANDLERS__MODULES='["shop"]')
    assert "orders.confirm" in outcome.stdout


def test_jobs_are_listed_by_status_and_handler(waiting: tuple[Path, str]) -> None:
    project, job = waiting
    assert job in onward("jobs", "list", project=project).stdout
    (line,) = onward("jobs", "list", "--json", "--status", "queued", project=project).stdout.splitlines()
    assert json.loads(line)["id"] == job
    assert job in onward("jobs", "list", "--handler", "steps.*", project=project).stdout
    assert job not in onward("jobs", "list", "--handler", "email.*", project=project).stdout
    assert onward("jobs", "list", "--status", "LOST", project=project).returncode == 2


def test_cancel_and_retry_report_by_their_exit_codes(waiting: tuple[Path, str]) -> None:
    project, job = waiting
    assert onward("jobs", "retry", job, project=project).returncode == 1
    assert onward("jobs", "cancel", job, "--reason", "tried", project=project).stdout == f"{job} CANCELLED\n"
    assert onward("jobs", "cancel", job, project=project).returncode == 1
    assert "reason for cancelling: tried\n" in onward("jobs", "show", job, project=project).stdout
    assert json.loads(onward("jobs", "show", job, "--json", project=project).stdout)["reason"] == "tried"
    assert onward("jobs", "list", "--status", "cancelled", project=project).stdout.rstrip().endswith("tried")
    assert onward("jobs", "retry", "--handler", "email.*", project=project).stdout.startswith("0 jobs")
    assert onward("jobs", "retry", "--handler", "steps.*", project=project).stdout.startswith("1 job waits")
    assert onward("jobs", "cancel", job, project=project).returncode == 0
    assert onward("jobs", "retry", job, "--from-start", project=project).stdout == f"{job} QUEUED\n"


def test_a_batch_is_shown_cancelled_and_retried(project: Path) -> None:
    """The children are cancelled by the process that serves."""
    with running("serve", project=project) as api, _writer(project) as writer:
        api.serving()
        later = NewJob("steps.process_item", "background", '{"item": "x"}', 1, "[]", 1, run_at=9 * 10**15)
        ids = writer.database.ids
        made = Making(
            batch([JobRequest(later.handler, {})] * 2),
            prepare=lambda _: replace(later, id=ids.next("job", 0)),
            new_id=lambda kind: ids.next(kind, 0),
            owner=None,
        )
        list(made)
        writer.run_sync(lambda tx: made.accept(tx, ledger.accept))
        shown = json.loads(onward("jobs", "batch", "show", made.id, "--json", project=project).stdout)
        assert (shown["state"], shown["counts"], shown["done"]) == ("OPEN", {"SCHEDULED": 2}, False)
        assert onward("jobs", "batch", "retry", made.id, project=project).returncode == 1
        cancelled = onward("jobs", "batch", "cancel", made.id, "--reason", "no more", project=project)
        assert cancelled.stdout.startswith(f"{made.id} CANCELLING: ")
        wait_until(lambda: "CANCELLED: 2 CANCELLED" in onward("jobs", "batch", "show", made.id, project=project).stdout)
        assert "reason for cancelling: no more" in onward("jobs", "batch", "show", made.id, project=project).stdout
        assert onward("jobs", "batch", "cancel", made.id, project=project).returncode == 1
        assert onward("jobs", "batch", "retry", made.id, project=project).stdout.startswith(f"{made.id} RETRYING: ")
    assert onward("jobs", "batch", "show", "batch_1", project=project).returncode == 3


@contextmanager
def _writer(project: Path) -> Iterator[Writer]:
    with writing(f"sqlite:///{project / 'var' / 'onward.db'}") as writer:
        yield writer


class Slow(Backend):
    """A backend whose health check takes very long."""

    runs_elsewhere = True

    def __init__(self, _run: Run) -> None: ...

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None: ...

    async def health(self) -> Health:
        await asyncio.sleep(5)
        return Health(reachable=True)


def test_a_silent_backend_does_not_block_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application.write(tmp_path)
    monkeypatch.setattr(backends, "HEALTH_TIMEOUT_S", 0.05)
    mine = {"mine": {"class": "tests.system.test_cli:Slow"}}
    found = terminal._health(settings.load(tmp_path, backend="mine", backends=mine), "mine")
    assert found == Health(reachable=False)


def test_a_terminal_shows_the_reason_why_a_job_waits(waiting: tuple[Path, str]) -> None:
    """The reason is a backend that does not answer, or a paused handler; a finished job has none."""
    project, job = waiting
    for reported in ("the backend dramatiq to answer", "the handler steps.process_item to be resumed"):
        assert f"\nwaits for {reported}\n" in onward("jobs", "show", job, project=project).stdout
        assert json.loads(onward("jobs", "show", job, "--json", project=project).stdout)["waitingFor"] == reported
        onward("jobs", "pause", "steps.*", project=project)
    onward("jobs", "resume", "steps.*", project=project)
    other = onward("jobs", "show", job, project=project, ONWARD_BACKEND="background").stdout
    assert "waits for a free worker of the backend dramatiq, which the settings do not use" in other
    onward("jobs", "cancel", job, project=project)
    assert "waits for" not in onward("jobs", "show", job, project=project).stdout


@pytest.mark.parametrize("command", ["list", "retry"])
def test_a_pattern_without_handlers_gives_3(command: str, empty: Path) -> None:
    """A pattern that fits a handler without jobs gives 0."""
    assert onward("jobs", command, "--handler", "email.*", project=empty).returncode == 0
    unknown = onward("jobs", command, "--handler", "emial.*", project=empty)
    assert unknown.returncode == 3
    assert "emial.*: there is no such handler; known are email.welcome" in unknown.stderr


@pytest.mark.parametrize("command", ["show", "watch", "output", "logs", "retry", "cancel"])
def test_an_unknown_job_gives_3(command: str, empty: Path) -> None:
    outcome = onward("jobs", command, "job_none", project=empty)
    assert (outcome.returncode, outcome.stderr) == (3, "job_none: there is no such job\n")


def test_the_log_lines_of_a_job_are_printed(project: Path) -> None:
    """Attempts are told apart, a traceback does not look like lines, and controls are escaped."""
    assert onward("migrate", project=project).returncode == 0
    first = '[[1,"WARNING","shop","draft","\\u001b[31mred"],[2000000,"ERROR","runner","draft","raised\\nTraceback"]]'
    with _writer(project) as writer:
        job = writer.run_sync(accept)
        writer.run_sync(lambda tx: LogBatch(1, (Piece(0, 2, first),)).append(tx, job))
        second = replace(job, attempt=2)
        writer.run_sync(
            lambda tx: LogBatch(3, (Piece(0, 1, '[[3000000,"INFO","shop","draft","done"]]'),)).append(tx, second)
        )
    silent = onward("jobs", "logs", job.id, project=project)
    assert silent.returncode == 0
    heading, warning, error, trace, again, done = silent.stdout.splitlines()
    assert (heading, again) == (f"attempt {job.attempt}", "attempt 2")
    assert warning.split(maxsplit=2)[2] == r"WARNING  draft  \x1b[31mred"
    assert (error.split(maxsplit=2)[2], trace) == ("ERROR    draft  raised", "    | Traceback")
    assert done.endswith("INFO     draft  done")
    assert silent.stdout in onward("jobs", "show", job.id, project=project).stdout
    printed = [
        json.loads(line) for line in onward("jobs", "logs", job.id, "--json", project=project).stdout.splitlines()
    ]
    assert [(line["level"], line["attempt"], line["text"]) for line in printed] == [
        ("WARNING", job.attempt, "\x1b[31mred"),
        ("ERROR", job.attempt, "raised\nTraceback"),
        ("INFO", 2, "done"),
    ]
    assert json.loads(onward("jobs", "show", job.id, "--json", project=project).stdout)["logLines"] == printed
    with _writer(project) as writer:
        other = writer.run_sync(accept)
    assert onward("jobs", "logs", other.id, project=project).stdout == "no log lines\n"


@pytest.mark.parametrize("command", ["list", "retry --status FAILED", "cancel --status QUEUED"])
def test_a_limit_above_the_largest_integer_is_refused(command: str, project: Path) -> None:
    outcome = onward("jobs", *command.split(), "--limit", str(2**70), project=project)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize("command", ["retry", "cancel"])
def test_a_command_for_everything_needs_an_explicit_option(command: str, project: Path) -> None:
    assert "by options such as --handler" in refused("jobs", command, project=project)


def test_a_command_takes_ids_or_a_filter_and_not_both(project: Path) -> None:
    for command, status, words in (("retry", "FAILED", "FAILED or CANCELLED"), ("cancel", "QUEUED", "is not over")):
        assert "name jobs, or" in refused("jobs", command, "job_none", "--status", status, project=project)
        assert words in refused("jobs", command, "--status", "SUCCEEDED", project=project)


def test_the_process_of_a_server_is_listed(waiting: tuple[Path, str]) -> None:
    """Matching jobs are cancelled beside it."""
    project, job = waiting
    (found,) = onward("workers", "--json", project=project).stdout.splitlines()
    worker = json.loads(found)
    assert (worker["role"], worker["running"]) == ("api", 0)
    assert worker["id"] in onward("workers", project=project).stdout
    outcome = onward("workers", "drain", worker["id"], project=project)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert "the role of this one is api" in outcome.stderr
    assert onward("jobs", "cancel", "--handler", "steps.*", project=project).stdout.startswith("1 job is cancelled")
    assert onward("jobs", "cancel", job, project=project).returncode == 1


def test_jobs_are_watched_and_controlled_as_json(waiting: tuple[Path, str]) -> None:
    project, job = waiting
    cancelled = json.loads(onward("jobs", "cancel", job, "--json", "--reason", "tried", project=project).stdout)
    assert (cancelled["id"], cancelled["status"]) == (job, "CANCELLED")
    watched = onward("jobs", "watch", job, "--json", project=project)
    assert (watched.returncode, json.loads(watched.stdout)["status"]) == (1, "CANCELLED")
    assert json.loads(onward("jobs", "retry", job, "--json", project=project).stdout)["status"] == "QUEUED"
    again = onward("jobs", "retry", job, "--json", project=project)
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (1, "", 1)


SPEAK = """mutation ($words: Int!) { speak(input: {folder: "/nowhere", words: $words}) { job { id } } }"""


def test_output_is_printed_as_it_comes(project: Path) -> None:
    """Texts follow each other, any other chunk is a line; as JSON each is a line, also from an offset on."""
    module = "tests.integration.graphql.emitting_handlers"
    application.write(project, f'[server]\nport = 0\n[handlers]\nmodules = ["{module}"]\n')
    with running("serve", project=project) as api:
        job = graphql(api.serving(), SPEAK, words=3)["speak"]["job"]["id"]
        shown = onward("jobs", "output", job, project=project)
        assert (shown.returncode, shown.stdout, shown.stderr) == (0, '{"word": 0}\n1 2 the end\n', "")
    rest = onward("jobs", "output", job, "--after", "1", "--json", project=project)
    assert [json.loads(line) for line in rest.stdout.splitlines()] == [
        {"offset": 2, "attempt": 1, "step": "speak", "data": "2 "},
        {"offset": 3, "attempt": 1, "step": "speak", "data": "the end"},
    ]


def test_output_tells_of_attempts_and_of_what_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a text nor JSON can control a terminal."""
    printer = terminal.OutputPrinter(None, as_json=False)
    for chunk in (
        JobChunk(7, 1, "draft", "a\x1b[2J\n"),
        JobChunk(8, 1, "draft", "b"),
        JobChunk(9, 2, "draft", {"c": "\u202e"}),
        JobChunk(10, 2, "draft", "d"),
    ):
        printer.show(chunk)
    printer.end()
    shown = capsys.readouterr()
    assert shown.out == 'a\\x1b[2J\nb\n{"c": "\\u202e"}\nd\n'
    assert shown.err == "7 chunks before offset 7 are no longer kept\ndraft again, in attempt 2\n"


def test_a_watched_job_shows_the_end_of_its_output() -> None:
    """A step that runs again begins anew."""
    tail = terminal.OutputTail()
    tail.add([JobChunk(n, 1, "draft", f"line {n}\n") for n in range(30)])
    assert [str(line) for line in tail.lines()] == [f"  line {n}" for n in range(20, 30)]
    tail.add([JobChunk(30, 2, "draft", "again "), JobChunk(31, 2, "draft", {"a": 1})])
    assert [str(line) for line in tail.lines()] == ['  again {"a": 1}']
    assert tail.offset == 31


def test_migrate_says_whether_there_was_anything_to_do(project: Path, postgres_url: str) -> None:
    for url in (f"sqlite:///{project}/ledger.db", postgres_url):
        said = [onward("migrate", project=project, ONWARD_DATABASE__URL=url).stdout for _ in range(2)]
        assert said == ["the ledger is up to date\n", "nothing to do\n"]


def test_serve_leaves_postgresql_to_migrate(project: Path, postgres_url: str) -> None:
    assert "run `onward migrate`" in refused("serve", project=project, ONWARD_DATABASE__URL=postgres_url)


@pytest.mark.slow
def test_up_runs_jobs_through_a_private_redis_and_stops_it(project: Path) -> None:
    application.write(
        project, f'[server]\nport = 0\n[backends.dramatiq]\nurl = "redis://:p%20w@127.0.0.1:{free_port()}/0"\n'
    )
    with running("up", "--backend", "dramatiq", "--processes", "1", project=project) as all_of_it:
        job = graphql(all_of_it.serving(), PROCESS, item="words")["processItem"]["job"]["id"]
        assert onward("jobs", "watch", job, project=project).returncode == 0
        pids = children(all_of_it)
        assert len(pids) == 3
        assert (project / "var" / "redis" / "appendonlydir").is_dir()
        assert "p w" not in " ".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)
        assert all_of_it.end() == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_up_restarts_dead_processes(project: Path) -> None:
    with running("up", project=project) as all_of_it:
        address = all_of_it.serving()
        (api,) = children(all_of_it)
        os.kill(api, signal.SIGKILL)
        all_of_it.wait_for("starting again")
        wait_until(lambda: all_of_it.output().count("serving") == 2)
        assert graphql(address, PROCESS, item="words")["processItem"]["job"]


@pytest.mark.slow
def test_several_api_processes_share_the_port_and_end_together(project: Path) -> None:
    with running("serve", "--workers", "2", project=project) as api:
        address = api.serving()
        pids = children(api)
        assert len(pids) == 2
        assert graphql(address, PROCESS, item="words")["processItem"]["job"]
        assert api.end() == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_killed_supervisor_leaves_nothing_behind(project: Path) -> None:
    with running("up", project=project) as all_of_it:
        all_of_it.serving()
        (api,) = children(all_of_it)
        all_of_it.process.kill()
        wait_until(lambda: not Path(f"/proc/{api}").exists() or "Z" in Path(f"/proc/{api}/stat").read_text())


def test_the_version_is_shown(project: Path) -> None:
    assert re.fullmatch(r"onward \d+\.\d+\.\d+\n", onward("--version", project=project).stdout)


def test_a_reader_that_has_gone_is_no_error_to_print() -> None:
    """The output is short, and so written at the end."""
    reader, theirs = os.pipe()
    os.close(reader)
    command = [sys.executable, "-P", "-m", "onward", "--version"]
    outcome = subprocess.run(command, env=environment(), stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (outcome.returncode, outcome.stderr) == (1, "")


def test_a_shell_completes_words() -> None:
    asked = {"_ONWARD_COMPLETE": "complete_bash", "COMP_WORDS": "./onward jobs ret", "COMP_CWORD": "2"}
    outcome = subprocess.run(
        [sys.executable, "-P", "-m", "onward"], env=environment(**asked), capture_output=True, text=True, check=False
    )
    assert outcome.stdout.split() == ["retry"]


def test_an_interrupt_while_the_commands_are_imported_prints_no_traceback(tmp_path: Path) -> None:
    """The first package that they import sends it."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    path = os.pathsep.join((str(tmp_path), *sys.path))
    outcome = subprocess.run(
        [sys.executable, "-P", "-m", "onward"],
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (-signal.SIGINT, "", "")


def test_workers_of_up_have_as_long_for_their_drain_as_the_api(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs in the background of the API may take all of it. Redis is there for both until they have ended."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    application.write(project, f'[backends.dramatiq]\nurl = "{url}"\n')
    found = settings.load(project)
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/redis-server")
    redis = private_redis.process_spec(found)
    with socket.socket() as bound:
        (stage,) = {part.stage for part in (*main._api(found, bound), *main._workers(2, 8))}
    assert redis is not None
    assert redis.stage > stage


def test_up_says_what_a_private_redis_needs(project: Path) -> None:
    elsewhere = {"ONWARD_BACKEND": "dramatiq", "ONWARD_BACKENDS__DRAMATIQ__URL": "redis://192.0.2.1:6379/0"}
    assert "on this machine only" in refused("up", project=project, **elsewhere)
    named = {**elsewhere, "ONWARD_BACKENDS__DRAMATIQ__URL": f"redis://onward:secret@127.0.0.1:{free_port()}/0"}
    assert "has no users: leave the name out, as in redis://:PASSWORD" in refused("up", project=project, **named)
    here = {"ONWARD_BACKEND": "dramatiq", "ONWARD_BACKENDS__DRAMATIQ__URL": f"redis://127.0.0.1:{free_port()}/0"}
    assert "apt-get install redis-server" in refused("up", project=project, PATH="/nowhere", **here)


def children(parent: Running) -> list[int]:
    listed = Path(f"/proc/{parent.process.pid}/task/{parent.process.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def test_handlers_are_paused_and_resumed_by_name_and_by_pattern(project: Path) -> None:
    """Both are repeatable; an unknown name is reported with the known ones."""
    for _ in range(2):
        paused = onward("jobs", "pause", "steps.*", "email.welcome", project=project)
        assert (paused.returncode, paused.stdout.split("\n")[:2]) == (
            0,
            ["steps.process_item paused", "email.welcome paused"],
        )
    unknown = onward("jobs", "pause", "steps.nothing", project=project)
    assert (unknown.returncode, unknown.stdout) == (3, "")
    assert "known are email.welcome, logging.write, steps.process_item" in unknown.stderr
    with running("serve", project=project) as api:
        address = api.serving()
        job = graphql(address, PROCESS, item="words")["processItem"]["job"]["id"]
        by = graphql(address, "{ system { paused { handler by } } }")["system"]["paused"]
        assert [one["handler"] for one in by] == ["email.welcome", "steps.process_item"]
        assert all(one["by"] for one in by)
        assert onward("jobs", "resume", "*", project=project).returncode == 0
        assert onward("jobs", "watch", job, project=project).returncode == 0


def test_an_error_code_cannot_control_a_terminal(writer: Writer) -> None:
    new = NewJob("steps.process_item", "background", "{}", 1, "[]", 1)
    job = writer.run_sync(lambda tx: ledger.accept(tx, new))
    error = JobError(code="\x1b[2J", message="\u202e", retryable=False, step=None, occurred_at=0)
    console = Console(file=io.StringIO(), width=200)
    console.print(job_text.whole(replace(job, error=error)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\\x1b[2J: \\u202e" in shown
    assert not {"\x1b", "\u202e"} & set(shown)


def test_a_job_s_progress_is_a_line_of_its_own(writer: Writer) -> None:
    new = NewJob("steps.process_item", "background", "{}", 1, "[]", 1)
    job = replace(writer.run_sync(lambda tx: ledger.accept(tx, new)), progress=Progress(3, 4, "page 3"))
    console = Console(file=io.StringIO(), width=120)
    console.print(job_text.whole(job))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[2].strip(" ━╸╺") == "3 of 4"
