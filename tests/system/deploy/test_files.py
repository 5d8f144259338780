"""The files in deploy/ match the program's settings, commands and times."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

import pytest
import typer
import yaml
from pydantic import BaseModel

from onward.api import server
from onward.cli.main import program
from onward.config.settings import Settings, load
from onward.worker import worker_runtime
from tests.processes import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SECRETS = {"POSTGRES_PASSWORD": "p" * 32, "ONWARD_AUTH__JWT__SECRET": "s" * 32}
VARIABLE = re.compile(r"\bONWARD_[A-Z0-9_]*[A-Z0-9]\b")
GIVEN = re.compile(r"\$\{(\w+):([?-])([^}]*)\}")


def compose() -> Any:
    def filled(found: re.Match[str]) -> str:
        return SECRETS[found[1]] if found[2] == "?" else found[3]

    return yaml.safe_load(GIVEN.sub(filled, (DEPLOY / "compose.yaml").read_text("utf-8")))


def variables(table: type[BaseModel], head: str = "ONWARD_") -> Iterator[str]:
    """Return every variable that is a setting; a map's are all that begin with its name."""
    for name, field in table.model_fields.items():
        key = f"{head}{(field.alias or name).upper()}"
        yield key
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from variables(field.annotation, f"{key}__")
        elif get_origin(field.annotation) is Mapping:
            yield f"{key}__*"


@pytest.mark.parametrize(
    "file",
    [
        ROOT / "README.md",
        *(file for file in DEPLOY.rglob("*.*") if "__pycache__" not in file.parts),
        *sorted((ROOT / "docs").rglob("*.md")),
    ],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_every_variable_of_the_files_is_a_setting(file: Path) -> None:
    known = set(variables(Settings))
    assert {name for name in VARIABLE.findall(file.read_text("utf-8")) if name not in known} == set()


def test_the_settings_of_compose_start_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in compose()["x-onward"]["environment"].items():
        monkeypatch.setenv(name, str(value))
    settings = load(DEPLOY)
    assert (settings.environment, settings.backend, settings.auth.mode) == ("production", "dramatiq", "jwt")
    assert settings.database.url == f"postgresql://onward:{SECRETS['POSTGRES_PASSWORD']}@postgres/onward"
    assert settings.log.path.is_relative_to("/var/lib/onward")


def test_the_hosts_in_the_settings_are_services_of_compose() -> None:
    services, shared = compose()["services"], compose()["x-onward"]
    assert {"postgres", "redis", shared["environment"]["ONWARD_EMAIL__SMTP__HOST"]} <= set(services)
    for name in ("api", "worker"):
        assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    for service in services.values():
        mounts = [mount.partition(":")[0] for mount in service.get("volumes", ())]
        assert set(mounts) <= set(compose()["volumes"])
        assert not re.search(r":latest$|^[^:]+$", service["image"]) or service["image"] == "onward"


def test_one_service_builds_the_image_and_the_others_wait_for_it() -> None:
    """Two services that build would make two images; one that is restarted again and again would never end."""
    services = compose()["services"]
    assert [name for name, service in services.items() if "build" in service] == ["migrate"]
    assert services["migrate"]["restart"] == "no"
    for service in services.values():
        if service["image"] == "onward":
            assert (service["pull_policy"], service["env_file"]) == ("never", ".env")


def test_redis_persists_its_data() -> None:
    command = " ".join(compose()["services"]["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_every_service_has_a_limit_of_memory_and_rotates_its_log() -> None:
    """Redis refuses messages before it comes to its limit, and the two of a rewrite have room."""
    services = compose()["services"]
    for name, service in services.items():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert service["logging"]["driver"] == "json-file"
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    words = " ".join(services["redis"]["command"])
    most = re.search(r"--maxmemory (\d+)mb", words)
    assert most
    assert 2 * int(most[1]) <= int(services["redis"]["mem_limit"].removesuffix("m"))


def test_the_health_check_of_workers_asks_their_address() -> None:
    worker, shared = compose()["services"]["worker"], compose()["x-onward"]["environment"]
    assert worker["environment"].items() >= shared.items()
    assert f"http://{worker['environment']['ONWARD_WORKER__HEALTH']}/health/live" in worker["healthcheck"]["test"][-1]


def commands() -> Iterator[list[str]]:
    yield from (
        service["command"]
        for name, service in compose()["services"].items()
        if name != "redis" and "command" in service
    )
    for unit in UNITS:
        yield from (shlex.split(line)[1:] for line in re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE))
    words = re.search(r"^CMD \[(.*)\]$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert words
    yield re.findall(r'"(.*?)"', words[1])


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_of_the_files_exists(words: list[str]) -> None:
    found: Any = typer.main.get_command(program())
    found.commands[words[0]].make_context(words[0], list(words[1:]))


def test_a_process_is_given_the_time_to_drain() -> None:
    """The other processes would get its jobs later if it was killed earlier."""
    longest = Settings.model_fields["server"].default.drain_s + max(server.EXIT_GRACE_S, worker_runtime.EXIT_GRACE_S)
    given = [int(compose()["x-onward"]["stop_grace_period"].removesuffix("s"))]
    given += [int(second) for unit in UNITS for second in re.findall(r"TimeoutStopSec=(\d+)", unit.read_text())]
    assert len(given) == 3
    assert min(given) > longest


# Nothing is skipped where CI=true: there the program has to be.
@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and os.environ.get("CI") != "true",
    reason="needs systemd-analyze (Debian: apt-get install systemd)",
)
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/srv/onward/bin/onward", str(Path(sys.executable).with_name("onward")))
        (tmp_path / unit.name).write_text(text, "utf-8")
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in found.stderr.splitlines() if "onward" in line]
    assert (found.returncode, complaints) == (0, [])


def test_the_commands_of_a_deploy_need_no_environment_of_the_launcher() -> None:
    """A clone has a `.venv` only where the launcher has been started."""
    assert ".venv" not in (ROOT / "docs" / "deploying.md").read_text("utf-8")
