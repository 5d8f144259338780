"""Every metric there is, told by meters to which each thing has happened once."""

from onward.backends.base import Health
from onward.dispatch.queue_stats import Books, figures
from onward.jobs.states import JobStatus
from onward.telemetry.metrics import Meters


def exposition() -> str:
    meters = Meters()
    meters.accepted("email.welcome", 0.004)
    meters.started("email.welcome", 0.02)
    meters.ran("email.welcome", 0.3)
    meters.finished("email.welcome", JobStatus.SUCCEEDED.value)
    meters.retried("email.welcome")
    meters.rescued(1)
    meters.loop_delayed(0.001)
    meters.loop_blocked("email.welcome")
    books = Books(dict.fromkeys(JobStatus, 1), {"dramatiq": (1, 0.5)}, {"PAUSED": 1, "CONCURRENCY": 0, "RATE": 0}, 1)
    meters.add(lambda: figures(books, {"dramatiq": Health(reachable=True, depth=1)}))
    return meters.text().decode()
