"""Every setting of a process reaches those that run its jobs, whatever file and environment say there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from onward.config import inherited
from onward.config.settings import Settings, SettingsError, load_without_environment

TRIED: tuple[Any, ...] = (
    *(True, False, 7, 150, 2_000, 200_000, 0.5),
    *("postgresql://them:secret@db/x", "redis://:secret@other/1", "https://other.example", "127.0.0.1:9999"),
    *("package.module:function", "dramatiq", "other", "Ada <ada@example.org>", "s" * 40),
    *(["https://other.example"], ["10.0.0.0/8"], ["s" * 40], ["other"]),
    *({"*": "dramatiq"}, {"*": {"priority": 3, "rate": "100/m"}}),
    {"daily": {"handler": "a", "cron": "0 3 * * *", "params": {"to": ["ada"], "n": None}, "timezone": "Europe/Berlin"}},
)
"""Values of which each setting accepts one that is not its default."""
COMPANIONS: dict[tuple[str, ...], dict[str, Any]] = {
    ("environment",): {"auth": {"allow_public": True}},
    ("auth", "mode"): {"auth": {"jwt": {"secret": "s" * 40}}},
    ("auth", "viewer"): {"auth": {"mode": "custom"}},
    ("gql", "documents"): {"gql": {"documents_dir": "documents"}},
}
"""Settings without which a setting is refused."""


def leaves(table: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for name, field in table.model_fields.items():
        path, inner = (*above, field.alias or name), field.annotation
        if path in {("project",), ("backends", "custom")}:  # no settings themselves
            continue
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, path)
        else:
            yield path, field


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: merged(one[key], other[key]) if key in one and key in other else one.get(key, other.get(key))
        for key in {**one, **other}
    }


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    return {path[0]: nested(path[1:], value) if path[1:] else value}


def changed(project: Path, path: tuple[str, ...], field: FieldInfo) -> Settings:
    """Return settings of which that one is not the default."""
    companions = COMPANIONS.get(path, {})
    default = load_without_environment(project, **companions)
    for value in (*get_args(field.annotation), *TRIED):
        try:
            found = load_without_environment(project, **merged(nested(path, value), companions))
        except (SettingsError, TypeError):  # TypeError: not a value, but a part of a type such as `None`
            continue
        if found != default:
            return found
    raise AssertionError(f"no value tried for {'.'.join(path)} is accepted: add one to TRIED")


LEAVES = list(leaves(Settings))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "settings.toml").touch()
    monkeypatch.setenv("ONWARD_SERVER__PORT", "1")
    monkeypatch.setenv("ONWARD_NO_SUCH_TABLE__KEY", "1")
    monkeypatch.syspath_prepend(tmp_path)  # so that the import path stays as it is
    return tmp_path


@pytest.mark.parametrize(("path", "field"), LEAVES, ids=[".".join(path) for path, _ in LEAVES])
def test_each_setting_is_inherited(project: Path, path: tuple[str, ...], field: FieldInfo) -> None:
    settings = changed(project, path, field)
    assert inherited.enter(inherited.encode(settings)) == settings


def test_backends_of_the_project_are_inherited(project: Path) -> None:
    """A date is text then; an object, as only code can give it, stays where it is."""
    table = {"class": "mine:Backend", "url": "amqp://x", "depth": {"most": [1, 2]}, "since": date(2026, 1, 2)}
    given = load_without_environment(project, backend="mine", backends={"mine": {**table, "client": object()}})
    found = inherited.enter(inherited.encode(given))
    assert (found.backend, found.backends.custom["mine"].class_) == ("mine", "mine:Backend")
    assert found.backends.custom["mine"].options == {
        "url": "amqp://x",
        "depth": {"most": [1, 2]},
        "since": "2026-01-02",
        "client": None,
    }


def test_options_that_are_no_json_stay_where_they_are(project: Path) -> None:
    """Each start of a process encodes them, and reads no iterator to its end."""
    endless: list[Any] = []
    endless.append(endless)
    lines = (number for number in range(3))
    table = {"class": "mine:Backend", "url": "amqp://x", "key": b"\xff", "endless": endless, "lines": lines}
    given = load_without_environment(project, backend="mine", backends={"mine": table})
    found = inherited.enter(inherited.encode(given))
    assert found.backends.custom["mine"].options == {"url": "amqp://x", "key": None, "endless": None, "lines": None}
    assert list(lines) == [0, 1, 2]


def test_the_settings_are_one_line(project: Path) -> None:
    """The process reads up to its end."""
    line = inherited.encode(load_without_environment(project, email={"sender": "Ada\n<ada@example.org>"}))
    assert line.count(b"\n") == 1
    assert json.loads(line)["email"]["sender"] == "Ada\n<ada@example.org>"
