"""Connections through a pooler of transactions, such as PgBouncer: nothing of a session outlives its transaction.

Such a connection is known by its process number, which is not that of the server's process. It prepares no statement,
its settings are those of each transaction, and its wait for a connection of the pooler's has a deadline of our own.
"""

from __future__ import annotations

import select
import time
from typing import Any

from onward.storage.base import Unavailable


def mark(connection: Any) -> None:
    """Treat the connection as one through a pooler."""
    connection.prepare_threshold = None


def is_marked(connection: Any) -> bool:
    """True if the connection goes through a pooler."""
    return connection is not None and connection.prepare_threshold is None


def run(connection: Any, sql: str, deadline: float) -> list[str]:
    """Run statements without parameters, and return the first row of the last one.

    Raises Unavailable after the deadline, and the driver's errors. The connection is closed then: it may be waiting in
    the pooler's queue.
    """
    import psycopg  # noqa: PLC0415 - only where the ledger is PostgreSQL

    wire, row = connection.pgconn, list[str]()
    wire.send_query(sql.encode())
    while True:
        _wait(connection, wire, deadline)
        result = wire.get_result()
        if result is None:
            return row
        if result.status == psycopg.pq.ExecStatus.TUPLES_OK:
            row = [result.get_value(0, column).decode() for column in range(result.nfields)]
        elif result.status != psycopg.pq.ExecStatus.COMMAND_OK:
            message = result.error_message.decode(errors="replace").strip()
            connection.close()
            raise psycopg.OperationalError(message)


def _wait(connection: Any, wire: Any, deadline: float) -> None:
    """Wait until a result is there."""
    readable = select.poll()
    readable.register(wire.socket, select.POLLIN)
    while wire.flush() or wire.is_busy():
        if not readable.poll(max(deadline - time.monotonic(), 0) * 1000):
            connection.close()
            raise Unavailable("no connection to PostgreSQL became free in time")
        wire.consume_input()
