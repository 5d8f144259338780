"""Jobs are found by the message of their error, as the history has it, in the database as in Python."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from onward.jobs import pages, row
from onward.jobs.error_text import MESSAGE_CHARACTERS, one_line
from onward.jobs.model import Job, JobError, JobFilter, Visible
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept

MESSAGES = (
    "no answer",
    "No answer",
    "no answer from the printer",
    " no \n\n answer\t",
    "no%answer",
    "noanswer",
    r"no\nanswer",
    "C:\\new  file",
    "C:\\\new file",
    "C:\\\\new file",
    "a\0b",
    "a b",
    "\n",
    'they say "no", ","message":"no answer","retryable":true',
    "äöü 漢字 \u2028 \x1f \xa0",
    "x" * MESSAGE_CHARACTERS + "y",
    "x" * MESSAGE_CHARACTERS + "z",
    "x" * (MESSAGE_CHARACTERS - 1),
    "x" * (MESSAGE_CHARACTERS - 1) + " ",
    "x" * (MESSAGE_CHARACTERS - 1) + "  y",
    "\\" * (MESSAGE_CHARACTERS + 1),
)
_fail = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(status="FAILED", error=sa.bindparam("error_"))


@pytest.fixture
def failed(writer: Writer) -> dict[str, str]:
    """Jobs that have failed with each of the messages: the messages by their ids."""

    def fail(tx: Tx) -> dict[str, str]:
        found = {}
        for message in MESSAGES:
            job: Job = accept(tx)
            error = JobError('E","message":"no answer', message, retryable=True, step=None, occurred_at=tx.now)
            tx.execute(_fail, id_=job.id, error_=row.encode_error(error))
            found[job.id] = message
        return found

    return writer.run_sync(fail)


def test_the_database_finds_the_jobs_of_a_message(writer: Writer, failed: dict[str, str]) -> None:
    for message in (*MESSAGES, "", "no", "answer", "%", "n_ answer", "no answer\n", "x" * 500):
        wanted = JobFilter(error_message=one_line(message))
        page = writer.database.read_sync(
            lambda tx, wanted=wanted: pages.page(tx, visible=Visible(everything=True), filter=wanted, first=50)  # type: ignore[misc]
        )
        expected = {job_id for job_id, other in failed.items() if one_line(other) == one_line(message)}
        assert {job.id for job in page.jobs} == expected, message
        assert all(wanted.matches(job) for job in page.jobs)


def test_a_message_is_shown_in_one_line() -> None:
    assert one_line(" no \n\n answer\tfrom\0\r\nthe\fprinter ") == "no answer from the printer"
    assert one_line("x" * 300, 7) == "x" * 7
    assert len(one_line("x" * 300)) == MESSAGE_CHARACTERS
