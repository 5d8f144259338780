"""The handlers of a later release: greetings have separate names, and a failing handler is fixed."""

from typing import Any

from onward.handlers.base import Handler, JobContext, Permanent, handler, sequence


def apart(version: int, params: dict[str, Any]) -> dict[str, Any]:
    """Split the whole name of version 1."""
    given, _, family = params["name"].partition(" ")
    return {"given": given, "family": family, "asked": version}


@handler("release.greet", version=2, upgrade=apart)
async def greet(job: JobContext, *, given: str, family: str, asked: int = 2) -> str:
    return f"Good day, {family}, {given} (asked for by version {asked})"


@handler("release.refused")
async def refused(job: JobContext, *, name: str) -> str:
    return f"{name} is welcome"


@handler("release.later")
async def later(job: JobContext, *, name: str) -> str:
    return f"{name} was late"


async def first(job: JobContext, *, name: str) -> str:
    raise Permanent("a step that had finished ran again")


def second(job: JobContext, value: str) -> str:
    return f"{value}, and done"


HANDLERS: tuple[Handler, ...] = (greet, refused, later, sequence("release.half", [first, second]))
