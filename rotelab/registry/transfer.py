"""Exports a run's rows and imports them on another machine.

Tables and columns are read from the database itself, so those of later migrations are exported too,
unless `LOCAL` or `PRIVATE` names them.
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
from rotelab.registry.database import RegistryFile
from rotelab.registry.rows import insert_sql, now, read_json
from rotelab.registry.runs import keep_content, require_run, run_exists

LOCAL = frozenset({
    "number", "run_id", "id", "pid", "pid_started", "claimed", "heartbeat", "stop_requested",
    "queue_position", "eta_s", "archived", "imported", "sweep_id", "sweep_position",
    "model", "seed", "device",  # copies of settings
})  # fmt: skip
"""Columns that mean something in this registry only. Foreign keys are not exported either."""

PRIVATE = frozenset({"chat_answers", "live_questions", "stumps", "experiments", "cluster_jobs"})
"""Tables of a run that are never exported: what people typed belongs to them, not to the run, an
experiment names other runs, which stay here, and a cluster's jobs are of this machine."""

AS_JSON = {"tags": list, "seconds": dict, "warnings": list, "versions": dict, "config": dict}
"""Columns of a run that hold JSON, and the type of its value."""

MAX_ID = 80
"""Longest id of a run, in characters (`storage.RUN_ID`)."""


class Column(NamedTuple):
    """A column that is exported; `needed` if a row can't be inserted without it."""

    name: str
    kind: Literal["INTEGER", "REAL", "TEXT"]
    nullable: bool
    needed: bool


@dataclass(frozen=True)
class Table:
    """The rows of one table that are imported with a run.

    Args:
        columns: the names of their columns.
        rows: their values; a generator that checks them may raise `LabError`.
    """

    columns: tuple[str, ...]
    rows: Iterable[tuple]


class TransferRows(RegistryFile):
    """The part of the registry that exports and imports whole runs."""

    def exported_columns(self) -> dict[str, tuple[Column, ...]]:
        """The exported columns of every table that has rows of a run, `runs` included.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE "
                                                   "type = 'table' ORDER BY name")]  # fmt: skip
            found = {}
            for table in tables:
                keys = {row[3]: row[2] for row in db.execute(f"PRAGMA foreign_key_list({table})")}
                if table == "runs" or (keys.get("run_id") == "runs" and table not in PRIVATE):
                    found[table] = _columns(db, table, set(keys))
        return found

    def export_run(self, run_id: str) -> dict[str, Any]:
        """The exported columns of a run's own row, by name; JSON columns as Python values.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be read.
        """
        columns = self.exported_columns()["runs"]
        with self.read() as db:
            row = require_run(db, run_id)
        record = {c.name: row[c.name] for c in columns} | {"parent_id": row["parent_id"]}
        return record | {name: read_json(row[name], kind) for name, kind in AS_JSON.items()}

    def export_rows(self, run_id: str, table: str, columns: Iterable[str]) -> Iterator[tuple]:
        """A run's rows of one table, one by one, in the order of the primary key.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            info = db.execute(f"PRAGMA table_info({table})").fetchall()
            order = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
            sql = f"SELECT {', '.join(columns)} FROM {table} WHERE run_id = ?"
            yield from db.execute(f"{sql} ORDER BY {', '.join(order)}", [run_id])

    def copies_of(self, run_id: str) -> list[str]:
        """The runs here with that id, or with one that `import_run` made from it.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                "SELECT id FROM runs WHERE id = ? OR id LIKE ? ORDER BY number",
                [run_id, f"{run_id[: MAX_ID - 5]}-____"],
            ).fetchall()
        return [row[0] for row in rows]

    def import_run(
        self,
        run_id: str,
        record: Mapping[str, Any],
        pack: Pack,
        tables: Mapping[str, Table],
        taken: Callable[[str], bool],
        place: Callable[[str], None],
    ) -> str:
        """Stores a run from another machine with all its rows: all of it, or nothing.

        Args:
            run_id: the id it should have; if that is taken, a new one is made from it.
            record: its row by column, all checked; `model`, `seed` and `device` included.
            pack: its facts and prompts.
            tables: its rows in the other tables.
            taken: whether files of an id are in the way.
            place: moves the run's files to the folder of its id; the last step.

        Returns:
            The id it has here.

        Raises:
            LabError: a row comes twice or breaks a rule of its table; an error of `place` or of
                the rows; or the file can't be written.
        """
        record = {k: json.dumps(v) if k in AS_JSON else v for k, v in record.items()}
        with self.write() as db:
            parent = record.get("parent_id")
            record |= {
                "id": _free_id(db, run_id, taken),
                "parent_id": parent if parent and run_exists(db, parent) else None,
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
    sql = insert_sql(table, arrived.columns)
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
            f"Row {row} of the run's table {table} comes twice or is incomplete ({error}). The "
            "file is damaged: export it again."
        ) from error


def _free_id(db: Database, run_id: str, taken: Callable[[str], bool]) -> str:
    """That id; if it is taken, the same with four random digits added."""
    wanted = run_id
    while run_exists(db, wanted) or taken(wanted):
        wanted = f"{run_id[: MAX_ID - 5]}-{secrets.token_hex(2)}"
    return wanted
