"""Enqueues jobs in transactions of SQLAlchemy, as an application does, and prints when each commit returned.

Arguments: the ledger's address, the file of stamps, the number of jobs.
"""

import random
import sys
import time

import sqlalchemy as sa
from sqlalchemy.orm import Session

from benchmarks.base import PROJECT
from onward import JobRequest, Onward


def main(url: str, stamps: str, count: int) -> None:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with Onward.from_settings(PROJECT).sync as onward:
        for _ in range(count):
            time.sleep(random.uniform(0.3, 0.7))  # noqa: S311 - nothing is guarded
            with Session(engine) as session, session.begin():
                onward.enqueue(JobRequest("bench.stamp", {"path": stamps}), session=session)
            print(time.monotonic(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
