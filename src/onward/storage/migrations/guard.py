"""A migration's transaction, and the lock that keeps a second one out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from onward.storage.base import Unavailable
from onward.storage.driver import Driver


@contextmanager
def migration_lock(bound: sa.Connection, driver: Driver, lock: int, timeout_s: float) -> Iterator[None]:
    """Hold one transaction for the only migration that runs. Raises Unavailable if another one takes too long."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if driver.name == "sqlite":
                bound.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                bound.exec_driver_sql("BEGIN")
                bound.exec_driver_sql("SET LOCAL lock_timeout = '10s'")  # sessions of a pooler do not have it
                bound.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
                bound.exec_driver_sql("SET LOCAL statement_timeout = 0")  # an index of many jobs may take minutes
                bound.exec_driver_sql("SET LOCAL enable_seqscan = on")  # unlike others, it changes most of a table
        except sa.exc.OperationalError as error:
            if error.orig is None or not driver.is_transient(error.orig):
                raise
            if time.monotonic() > deadline:
                raise Unavailable("another migration does not end") from error
            if driver.name != "sqlite":
                bound.exec_driver_sql("ROLLBACK")
            time.sleep(0.1)
        else:
            break
    try:
        yield
    except BaseException:
        bound.exec_driver_sql("ROLLBACK")
        raise
    bound.exec_driver_sql("COMMIT")
