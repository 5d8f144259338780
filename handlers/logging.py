"""`logging.write`: append a notification to the journal."""

from datetime import UTC, datetime

from onward import JobContext, handler


@handler("logging.write")
def write(job: JobContext, *, email: str, message: str) -> None:
    """Write a line with the notification to disk. The line names the job, so a repeated one can be recognised."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    job.tools.log.append({"time": now, "job": job.id, "email": email, "message": message})
