"""Intervals and time limits of all parts of a process: one value, passed down from the composition root."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

TIMER_S = 0.002  # a timer may fire so early; the tick that it was for counts as gone
GOLDEN = 0.6180339887  # its multiples are spread evenly over an interval
VARIABLE = "ONWARD_TIMINGS"
"""The environment variable by which a process hands its timings to those that it starts; no setting."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations of one process, in seconds. Processes on one ledger must agree on them."""

    heartbeat_s: float = 1.0
    """Each process raises its counter this often."""
    lease_timeout_s: float = 7.0
    """A process is dead if its counter has not changed for this long."""
    orphan_check_s: float = 2.0
    """A runner looks for claims of its own that it does not run."""
    local_claim_grace_s: float = 5.0
    """A job accepted for this process is handed to it within this time, or was lost on the way."""
    blocked_check_s: float = 0.2
    """A runner looks again whether any handler has a limit."""
    cancellation_poll_s: float = 0.15
    """A running job learns within this time that it is to stop."""
    progress_interval_s: float = 0.1
    """Progress is written at most this often."""
    output_interval_s: float = 0.05
    """Output is written at most this often."""
    log_interval_s: float = 1.0
    """Log lines of a job that runs on are written at most this often; others are written with the end of their step."""
    outage_grace_s: float = 5.0
    """A drain waits this long for a ledger that is away, once nothing is left but to record what has ended."""
    write_retry_s: float = 5.0
    """A plain function gets this long past its limit to notice, before the job goes on without it."""
    change_poll_s: float = 0.03
    """Changes made by other processes are looked for, while anything is watched."""
    quiet_poll_s: float = 0.1
    """The same once nothing has changed for `quiet_after_s`: most of a look's cost is that the process wakes up."""
    quiet_after_s: float = 2.0
    recheck_s: float = 3.0
    """The ledger is read again by those who look for changes, though nothing seems to have changed: time alone makes
    some jobs due. Longer than `heartbeat_s`: on PostgreSQL other processes' heartbeats are changes, and one reason to
    read is enough."""
    change_recheck_s: float = 15.0
    """Services that wait for commits alone read the ledger again this often, in case a look for commits missed one."""
    tick_interval_s: float = 0.5
    """Maintenance looks, at the latest; delayed and blocked jobs are read if the ledger has changed, or one is due."""
    min_tick_s: float = 0.02
    """Between two looks of maintenance, however fast a rate is."""
    delivery_grace_s: float = 5.0
    """An accepting process confirms its delivery within this time."""
    reconcile_interval_s: float = 3.0
    """Maintenance looks for jobs of processes with other settings."""
    history_interval_s: float = 5.0
    """Maintenance adds up the figures that commits have left for the history."""
    clean_interval_s: float = 60.0
    """Maintenance deletes what is older than its retention."""
    deliver_timeout_s: float = 0.05
    """Seconds of a request that all its deliveries may take."""
    circuit_open_s: float = 1.0
    """A backend that failed is left to maintenance."""
    health_interval_s: float = 0.5
    """Each backend is asked how it is."""
    slot_check_s: float = 0.5
    """Free slots of the background backend look for work, at the latest."""
    commit_check_s: float = 0.05
    """Maintenance looks for commits of other processes that may bring jobs for a broker."""
    redis_timeout_s: float | None = 2.0
    """A call of Redis gives up; None waits for ever."""
    redis_block_s: float = 1.0
    """An idle consumer waits for a wake-up, at the longest."""
    redis_heartbeat_s: float = 1.0
    """Redis hears of each consumer this often, and is asked for the messages of silent ones."""
    redis_heartbeat_timeout_s: float = 5.0
    """Redis gives away the messages of a consumer that it has not heard of for this long."""
    redis_hold_s: float = 1.0
    """A worker whose slots are all in use for this long gives back messages that it has fetched."""
    delivery_retry_s: float = 0.5
    """A Dramatiq message whose job could not be asked for is tried again."""

    @classmethod
    def inherited(cls, environ: Mapping[str, str]) -> Self:
        """The timings of the process that started this one; the defaults if it handed none down."""
        return cls(**json.loads(environ.get(VARIABLE) or "{}"))

    def environment(self) -> dict[str, str]:
        """Variables that hand these timings to a process; none if they are the defaults."""
        default = asdict(Timings())
        changed = {name: value for name, value in asdict(self).items() if value != default[name]}
        return {VARIABLE: json.dumps(changed)} if changed else {}


def to_next_tick(interval_s: float) -> float:
    """Return the seconds until the next multiple of an interval, as this process counts it.

    Those who look at the same interval look at the same moment, and an idle process wakes up once for all of them.
    The processes of a machine, which have one clock, look at different moments.
    """
    if interval_s <= 0:
        return 0.0
    phase_s = os.getpid() * GOLDEN % 1
    left_s = interval_s - (time.monotonic() + phase_s) % interval_s
    return left_s if left_s > TIMER_S else left_s + interval_s
