"""The log lines of a job as text for a terminal, and as JSON with GraphQL's names."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from onward.cli.job_text import plain
from onward.jobs.log_level import LogLevel
from onward.jobs.model import JobLogLine, to_datetime

STYLES = {
    LogLevel.DEBUG: "bright_black",
    LogLevel.INFO: "",
    LogLevel.WARNING: "yellow",
    LogLevel.ERROR: "red",
    LogLevel.CRITICAL: "bold red",
}


def as_objects(lines: Sequence[JobLogLine]) -> list[dict[str, Any]]:
    """Return the lines as JSON."""
    return [{**asdict(line), "time": to_datetime(line.time).isoformat()} for line in lines]


def whole(lines: Sequence[JobLogLine]) -> Text:
    """Format the lines for a person; a bar before the further lines of a text tells them from log lines."""
    return Text("\n").join(_shown(lines))


def _shown(lines: Sequence[JobLogLine]) -> Iterator[Text]:
    several = len({line.attempt for line in lines}) > 1
    attempt = None
    for line in lines:
        if several and line.attempt != attempt:
            yield Text(f"attempt {line.attempt}", style="bright_black")
        attempt = line.attempt
        first, *further = line.text.split("\n")
        at = f"{to_datetime(line.time).astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]
        head = f"{at} {line.level:<8} {plain(line.step)}  {plain(first)}"
        yield Text("\n    | ".join([head, *map(plain, further)]), style=STYLES[line.level])
