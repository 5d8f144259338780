"""The settings that a process hands to those that run its jobs: all of them, and nothing of file or environment there.

They go through the standard input of that process, one line of JSON, since others can read a process's environment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import to_jsonable_python
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from onward.config.settings import Backends, CustomBackend, Settings, make_importable


class _Inherited(Settings):
    """Settings of which neither a file nor a variable is a source."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature of the base class, as below
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def encode(settings: Settings) -> bytes:
    """Return the settings, secrets included, as a line for `enter`."""
    return json.dumps(settings, default=_plain, skipkeys=True).encode() + b"\n"


def enter(line: bytes) -> Settings:
    """Return the settings of the line, and make the project's modules importable."""
    settings = Settings.model_construct(**dict(_Inherited(**json.loads(line))))
    make_importable(settings.project)
    return settings


def _plain(value: Any) -> Any:
    """Return the value as settings.toml has it."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case CustomBackend():
            return {"class": value.class_, **{name: _option(option) for name, option in value.options.items()}}
        case Backends():
            return {"background": value.background, "dramatiq": value.dramatiq, **value.custom}
        case BaseModel():
            return {field.alias or name: getattr(value, name) for name, field in type(value).model_fields.items()}
        case Mapping():
            return dict(value)
        case Iterator():  # which would be used up
            value = None
    return to_jsonable_python(value, fallback=lambda _: None)


def _option(value: Any) -> Any:
    """Return an option of a project's own backend as JSON has it; None for an object that JSON does not have.

    The object stays with the process that was given it.
    """
    try:
        return json.loads(json.dumps(value, default=_plain, skipkeys=True))
    except Exception:  # noqa: BLE001 - a cycle, bytes that are no text, or what code of the object raises
        return None
