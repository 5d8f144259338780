"""All metrics, with each event recorded once."""

from onward.backends.base import Health
from onward.dispatch.queue_stats import QueueStats, figures
from onward.jobs.states import JobStatus
from onward.telemetry.metrics import Metrics


def exposition() -> str:
    metrics = Metrics()
    metrics.accepted("email.welcome", 0.004)
    metrics.started("email.welcome", 0.02)
    metrics.ran("email.welcome", 0.3)
    metrics.finished("email.welcome", JobStatus.SUCCEEDED.value)
    metrics.expired("email.welcome")
    metrics.retried("email.welcome")
    metrics.rescued(1)
    metrics.loop_delayed(0.001)
    metrics.loop_blocked("email.welcome")
    queue_stats = QueueStats(
        dict.fromkeys(JobStatus, 1),
        {"dramatiq": {"email.welcome": (1, 0.5)}},
        {"PAUSED": 1, "CONCURRENCY": 0, "RATE": 0},
        1,
        1,
        0.5,
    )
    brokers = {"dramatiq": Health(reachable=True, depth=1)}
    metrics.add(lambda: figures(queue_stats, brokers, ["email.welcome"], writable=True))
    return metrics.text().decode()
