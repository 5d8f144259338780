"""A handler that logs, for the tests of `Job.logLines`."""

import logging

from onward import JobContext, Retry, handler

log = logging.getLogger("tests.notes")
log.setLevel(logging.INFO)


@handler("notes.note", retry=Retry(max_attempts=1), mutation="note")
def note(_job: JobContext, *, lines: int, size: int = 0) -> None:
    for n in range(lines):
        log.info("line %s%s", n, "x" * size)
