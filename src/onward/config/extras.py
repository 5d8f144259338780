"""Optional dependencies: which setting needs which extra of the package, and how to install it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onward.config.settings import Settings

MODULES = MappingProxyType(
    {
        "dramatiq": ("dramatiq", "redis"),
        "postgres": ("psycopg",),
        "smtp": ("aiosmtplib",),
        "jwt": ("jwt",),
        "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
        "testing": ("pytest", "httpx2"),
    }
)
"""The modules by which each extra is known to be installed."""


def missing(settings: Settings) -> str:
    """Describe the first setting whose extra is not installed; empty if there is none."""
    return next((f"{key} {needs(extra)}" for key, extra in _needed(settings) if not is_installed(extra)), "")


def needs(extra: str) -> str:
    """Return the end of a message about something that needs an extra."""
    return f'needs the extra "{extra}": pip install "onward[{extra}]"'


def of_module(module: str) -> str:
    """Return the extra that brings a module; empty if none does."""
    top = module.partition(".")[0]
    return next((extra for extra, names in MODULES.items() if top in {name.partition(".")[0] for name in names}), "")


def is_installed(extra: str) -> bool:
    """True if all modules of the extra can be found; imports none of them but packages above."""
    try:
        return all(find_spec(module) is not None for module in MODULES[extra])
    except ModuleNotFoundError:  # a package above is missing
        return False


def _needed(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each setting that needs an extra, as shown in a message, and the extra."""
    if settings.database.url.startswith("postgresql://"):
        yield "database.url: postgresql://", "postgres"
    if settings.backend == "dramatiq":
        yield 'backend: "dramatiq"', "dramatiq"
    for pattern, backend in settings.routes.items():
        if backend == "dramatiq":
            yield f'routes."{pattern}": "dramatiq"', "dramatiq"
    if settings.email.transport == "smtp":
        yield 'email.transport: "smtp"', "smtp"
    if settings.auth.mode == "jwt":
        yield 'auth.mode: "jwt"', "jwt"
    if settings.telemetry.traces:
        yield "telemetry.traces", "otel"
