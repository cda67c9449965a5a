"""A person's own SQL on `runs.db`: read, and nothing but read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from rotelab.errors import LabError
from rotelab.registry.database import BUSY_S, explain

READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_FUNCTION,
}
"""What a statement may do (SQLite's action codes)."""

PRAGMAS = {
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "foreign_key_list",
}
"""Pragmas that only describe tables."""

FUNCTIONS_REFUSED = {"load_extension", "writefile", "edit", "fts3_tokenizer"}

REFUSED = (
    "Only reading is allowed: one SELECT, which may begin with WITH. To change runs, use the page "
    "or the other commands, such as `python -m rotelab rename`."
)


class Rows(NamedTuple):
    """What a query found: the names of its columns, each once, and its rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def read_sql(path: Path, sql: str) -> Rows:
    """Carries out one SELECT on the database file.

    The connection is read-only, and SQLite's authorizer refuses everything but reading, so that a
    statement can't attach another file either.

    Args:
        path: the database; it is there.
        sql: one statement.

    Raises:
        LabError: it would do more than read, it is not valid SQL, it names a table or a column that
            there is not, or the file can't be read.
    """
    refused = []

    def allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        fine = action in READING or (action == sqlite3.SQLITE_PRAGMA and first in PRAGMAS)
        if action == sqlite3.SQLITE_FUNCTION and second in FUNCTIONS_REFUSED:
            fine = False
        if not fine:
            refused.append(action)
        return sqlite3.SQLITE_OK if fine else sqlite3.SQLITE_DENY

    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_S)
        ) as connection:
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            connection.set_authorizer(allowed)
            found = connection.execute(sql)
            if found.description is None:
                raise LabError(REFUSED)
            columns = _each_once([str(column[0]) for column in found.description])
            return Rows(columns, [tuple(map(_plain, row)) for row in found])
    except (sqlite3.Error, sqlite3.Warning) as error:
        if refused or getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY":
            raise LabError(REFUSED) from error
        if "one statement" in str(error):
            raise LabError(f"That is more than one statement. {REFUSED}") from error
        # A wrong name is the query's fault here, not the file's.
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) != sqlite3.SQLITE_ERROR:
            raise LabError(explain(error, path) or f"SQL: {error}.") from error
        raise LabError(
            f"SQL: {error}. `python -m rotelab sql --tables` lists tables and columns."
        ) from error


def _each_once(names: list[str]) -> tuple[str, ...]:
    """The names, a repeated one with its number behind it: `id`, `id_2`."""
    found: list[str] = []
    for name in names:
        free, count = name, 1
        while free in found:
            count += 1
            free = f"{name}_{count}"
        found.append(free)
    return tuple(found)


def _plain(value: Any) -> Any:
    """A value as JSON can have it; bytes as hexadecimal digits."""
    return value.hex() if isinstance(value, bytes) else value
