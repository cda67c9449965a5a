"""What of a run can travel to another machine's registry, and how such a run is taken in.

Tables and columns are asked of the database itself, so one that a later migration adds travels too,
unless it only means something on this machine.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlite_utils import Database

from rotelab.errors import LabError
from rotelab.facts.packs import Pack
from rotelab.registry.rows import now, read_json
from rotelab.registry.runs import RunRows, keep_content

LOCAL = frozenset({
    "number", "run_id", "id", "pid", "pid_started", "claimed", "heartbeat", "stop_requested",
    "queue_position", "eta_s", "archived", "imported", "sweep_id", "sweep_position",
    "model", "seed", "device",  # the settings say them too
})  # fmt: skip
"""Columns that mean something in this registry only; keys of other tables are left out besides."""

STAYS = frozenset({"chat_answers"})
"""Tables of a run that never travel: what a person typed is theirs, and no part of the run."""

AS_JSON = {"tags": list, "seconds": dict, "warnings": list, "versions": dict, "config": dict}
"""Columns of a run that hold JSON, and what is in them."""


MAX_ID = 80
"""Longest id of a run, in characters (`settings.RUN_ID`)."""


class Column(NamedTuple):
    """A column that travels; `needed` where a row can't be without it."""

    name: str
    kind: Literal["INTEGER", "REAL", "TEXT"]
    nullable: bool
    needed: bool


@dataclass(frozen=True)
class Table:
    """The rows of one table that arrive with a run.

    Args:
        columns: the names of the columns that they have.
        rows: their values; a generator that checks may raise `LabError`.
    """

    columns: tuple[str, ...]
    rows: Iterable[tuple]


class TravelRows(RunRows):
    """The part of the registry that hands a run out whole, and takes one in."""

    def travelling(self) -> dict[str, tuple[Column, ...]]:
        """The tables that hold something of a run, `runs` among them, and what of them travels.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE "
                                                   "type = 'table' ORDER BY name")]  # fmt: skip
            found = {}
            for table in tables:
                keys = {row[3]: row[2] for row in db.execute(f"PRAGMA foreign_key_list({table})")}
                if table == "runs" or (keys.get("run_id") == "runs" and table not in STAYS):
                    found[table] = _columns(db, table, set(keys))
        return found

    def run_out(self, run_id: str) -> dict[str, Any]:
        """A run's own row as far as it travels, by column; JSON columns as what they hold.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be read.
        """
        columns = self.travelling()["runs"]
        with self.read() as db:
            row = self._require(db, run_id)
        record = {c.name: row[c.name] for c in columns} | {"parent_id": row["parent_id"]}
        return record | {name: read_json(row[name], kind) for name, kind in AS_JSON.items()}

    def rows_out(self, run_id: str, table: str, columns: Iterable[str]) -> Iterator[tuple]:
        """A run's rows of one table, in the order of its primary key, one by one.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            info = db.execute(f"PRAGMA table_info({table})").fetchall()
            order = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
            sql = f"SELECT {', '.join(columns)} FROM {table} WHERE run_id = ?"
            yield from db.execute(f"{sql} ORDER BY {', '.join(order)}", [run_id])

    def like_named(self, run_id: str) -> list[str]:
        """The runs here by that id, or by one that `take_in` made of it.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                "SELECT id FROM runs WHERE id = ? OR id LIKE ? ORDER BY number",
                [run_id, f"{run_id[: MAX_ID - 5]}-____"],
            ).fetchall()
        return [row[0] for row in rows]

    def take_in(
        self,
        run_id: str,
        record: Mapping[str, Any],
        pack: Pack,
        tables: Mapping[str, Table],
        taken: Callable[[str], bool],
        place: Callable[[str], None],
    ) -> str:
        """Writes a run that came from elsewhere, with all its rows: all of it, or nothing.

        Args:
            run_id: the id it should have; if that is taken, a fresh one is made of it.
            record: its row by column, all checked; `model`, `seed` and `device` among them.
            pack: its facts and prompts.
            tables: its rows in the other tables.
            taken: whether an id's files are in the way.
            place: puts the run's files where its id says; the last step.

        Returns:
            The id it has here.

        Raises:
            LabError: a row stands there twice or breaks a rule of its table; what `place` or the
                rows raise; or the file can't be written.
        """
        record = {k: json.dumps(v) if k in AS_JSON else v for k, v in record.items()}
        with self.write() as db:
            parent = record.get("parent_id")
            record |= {
                "id": _free_id(db, run_id, taken),
                "parent_id": parent if parent and _exists(db, parent) else None,
                "content_hash": keep_content(db, pack),
                "imported": now(),
            }
            db.table("runs").insert(record)
            for table, arrived in tables.items():
                _insert(db, table, record["id"], arrived)
            place(record["id"])
        return record["id"]


def _columns(db: Database, table: str, keys: set[str]) -> tuple[Column, ...]:
    return tuple(
        Column(name, kind, not notnull, bool(notnull) and default is None)
        for _, name, kind, notnull, default, _ in db.execute(f"PRAGMA table_info({table})")
        if name not in LOCAL and name not in keys
    )


def _insert(db: Database, table: str, run_id: str, arrived: Table) -> None:
    names = ("run_id", *arrived.columns)
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    row = 0

    def counted() -> Iterator[tuple]:
        nonlocal row
        for values in arrived.rows:
            row += 1
            yield (run_id, *values)

    try:
        db.conn.executemany(sql, counted())
    except sqlite3.IntegrityError as error:
        raise LabError(
            f"Row {row} of the run's {table} stands there twice or is not whole ({error})."
        ) from error


def _free_id(db: Database, run_id: str, taken: Callable[[str], bool]) -> str:
    """That id, or where it is taken the same with four more digits."""
    wanted = run_id
    while _exists(db, wanted) or taken(wanted):
        wanted = f"{run_id[: MAX_ID - 5]}-{secrets.token_hex(2)}"
    return wanted


def _exists(db: Database, run_id: str) -> bool:
    return db.execute("SELECT 1 FROM runs WHERE id = ?", [run_id]).fetchone() is not None
