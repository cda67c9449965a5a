"""How much work something is, counted instead of timed, so that no busy machine fails a test."""

from __future__ import annotations

import cProfile
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rotelab.registry import Registry


def calls_of(work: Callable[[], Any]) -> int:
    """How many calls of functions, Python's own among them, `work` makes in this thread."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


@contextmanager
def statements_of(registry: Registry) -> Iterator[list[str]]:
    """Collects every SELECT that a registry sends to its file meanwhile."""
    found: list[str] = []
    connect = registry._connect

    def traced(create: bool = False) -> sqlite3.Connection:
        connection = connect(create)
        connection.set_trace_callback(lambda sql: sql.startswith("SELECT") and found.append(sql))
        return connection

    registry._connect = traced
    try:
        yield found
    finally:
        registry._connect = connect
