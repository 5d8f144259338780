"""`logging.write`: append a notification to the journal."""

from datetime import UTC, datetime

from onward import JobContext, handler
from onward.handlers.types import Email, Text


@handler("logging.write", mutation="sendNotification")
def write(job: JobContext, *, email: Email, message: Text) -> None:
    """Append the message to the log by the job `logging.write`.

    The line names the job, so that a repeated one can be recognised.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    job.tools.log.append({"time": now, "job": job.id, "email": email, "message": message})
