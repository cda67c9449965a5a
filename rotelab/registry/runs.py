"""The registry's runs: finding, listing, changing and deleting their rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal

from sqlite_utils import Database

from rotelab.config.names import LIVE, TRANSITIONS, Status
from rotelab.errors import LabError
from rotelab.facts.packs import Pack
from rotelab.registry.database import RegistryFile
from rotelab.registry.ids import Kind, resolve
from rotelab.registry.rows import RunRow, RunSummary, like, now, read_json, writable

CHANGEABLE = {
    "name": str, "note": str, "tags": list, "archived": bool, "error": str, "device_used": str,
    "message": str, "seconds": dict, "warnings": list, "versions": dict, "queue_position": int,
}  # fmt: skip
"""What `update_run` may change, and its type."""

PROGRESS = ("phase", "epoch", "epochs", "step", "steps", "eta_s", "share", "message")
"""What `heartbeat` may report."""

DAMAGED = "This run's stored settings are damaged; its results can still be looked at."

# Each tag by itself: the column's own text is JSON, with “é” escaped and brackets that match too.
_TAGGED = """CASE WHEN json_valid(tags) THEN EXISTS
    (SELECT 1 FROM json_each(tags) WHERE value LIKE ? ESCAPE '\\') ELSE 0 END"""
_FOUND = ("test_accuracy", "k", "total_s")
_OWN = [f.name for f in fields(RunSummary) if f.name not in _FOUND]
_SUMMARY = f"""SELECT {", ".join(_OWN)}, json_valid(config) AS sound,
    CASE WHEN json_valid(config) THEN json_extract(config, '$.generalize.k') END AS k,
    CASE WHEN json_valid(seconds) THEN json_extract(seconds, '$.total') END AS total_s,
    (SELECT generation_accuracy FROM scores WHERE run_id = runs.id
     AND checkpoint = CASE WHEN json_valid(config) AND json_extract(config, '$.lesson') IS NOT NULL
         THEN printf('lesson-%02d', json_extract(config, '$.lesson.number')) ELSE 'generalized' END
     AND probe = 'test_prompts_heldout') AS test_accuracy"""
_ROW = (
    f"{_SUMMARY}, seconds, warnings, versions, content_hash, config AS config_json, "
    "coalesce(facts_csv, '') AS facts_csv, coalesce(prompts_csv, '') AS prompts_csv "
    "FROM runs LEFT JOIN contents USING (content_hash)"
)

_NOT_HELD = " AND NOT (status = 'queued' AND queue_position IS NULL)"

_KIND = Kind(
    "runs",
    "run",
    "`python -m rotelab runs` and the Runs tab list them all.",
    # Runs that a sweep has yet to start come last: there is nothing to see of them.
    newest="(status = 'queued' AND queue_position IS NULL), number DESC",
)

RunOrder = Literal["newest", "best", "longest", "name", "queue"]
_ORDERS: dict[RunOrder, str] = {
    "newest": "number DESC",
    "best": "test_accuracy DESC, number DESC",  # SQLite puts NULL last in a descending order
    "longest": "total_s DESC, number DESC",
    "name": "name = '', name COLLATE NOCASE, number DESC",
    "queue": "status = 'queued', queue_position IS NULL, queue_position, number",
}


class RunRows(RegistryFile):
    """The part of the registry that stores the rows of runs."""

    def run(self, run_id: str) -> RunRow:
        """Everything stored about one run, except its measurements.

        Raises:
            UnknownRun: there is no run with exactly that id.
            LabError: the file can't be read.
        """
        with self.read() as db:
            row = next(iter(db.query(f"{_ROW} WHERE id = ?", [run_id])), None)
        if row is None:
            raise _KIND.unknown(run_id)
        row = _common(row)
        row["seconds"] = read_json(row["seconds"], dict)
        row["warnings"] = tuple(read_json(row["warnings"], list))
        row["versions"] = read_json(row["versions"], dict)
        return RunRow(**row)

    def resolve(self, text: str) -> str:
        """The id of the run that a whole id, a unique beginning or `latest` stands for.

        Raises:
            UnknownRun: no run, or more than one, begins like that.
            LabError: the file can't be read.
        """
        return resolve(self, _KIND, text)

    def runs(
        self,
        limit: int = 100,
        offset: int = 0,
        search: str = "",
        status: Status | Sequence[Status] | None = None,
        archived: bool | None = False,
        held: bool = True,
        order: RunOrder = "newest",
    ) -> list[RunSummary]:
        """The runs, newest first by default. A damaged run is listed with an error.

        Args:
            limit: how many at most.
            offset: how many to skip.
            search: a text that id, name, pack, model, note, tags or sweep must contain.
            status: one status, or several.
            archived: whether archived runs are listed (and only they); None lists both kinds.
            held: whether to list runs that wait for their sweep to start them.
            order: by number, accuracy in test wordings, seconds, or name; runs without come last.
                `queue`: those that don't wait first, then the others as they will start.

        Raises:
            LabError: the file can't be read.
        """
        where, values = _where(search, status, archived)
        where += "" if held else _NOT_HELD
        with self.read() as db:
            rows = list(
                db.query(
                    f"{_SUMMARY} FROM runs WHERE {where} ORDER BY {_ORDERS[order]} "
                    "LIMIT ? OFFSET ?",
                    [*values, limit, offset],
                )
            )
        return [RunSummary(**_common(row)) for row in rows]

    def count_runs(
        self,
        search: str = "",
        status: Status | Sequence[Status] | None = None,
        archived: bool | None = False,
        examples: bool = True,
        held: bool = True,
    ) -> int:
        """How many runs `runs` would list without a limit; `examples`: those of `put_last`, too.

        Raises:
            LabError: the file can't be read.
        """
        where, values = _where(search, status, archived)
        where += "" if examples else " AND number > 0"
        where += "" if held else _NOT_HELD
        with self.read() as db:
            return db.execute(f"SELECT count(*) FROM runs WHERE {where}", values).fetchone()[0]

    def runs_after(self, run_id: str) -> list[str]:
        """The ids of the runs that were made from one (`parent_id`), oldest first: its lessons, and
        those that were cloned from it.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                "SELECT id FROM runs WHERE parent_id = ? ORDER BY number", [run_id]
            ).fetchall()
        return [row[0] for row in rows]

    def runs_before(self, run_id: str) -> int:
        """How many runs the queue starts before one that waits in it; 0 for any other.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            return db.execute(
                "SELECT count(*) FROM runs, (SELECT queue_position AS place, number AS mine "
                "FROM runs WHERE id = ? AND status = 'queued') "
                "WHERE status = 'queued' AND (queue_position, number) < (place, mine)",
                [run_id],
            ).fetchone()[0]

    def update_run(self, run_id: str, **changes: Any) -> None:
        """Changes some of a run's fields, those in `CHANGEABLE`; `set_status` changes its status.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
            TypeError: a field is not in `CHANGEABLE`; a bug, not the user's fault.
        """
        record = {}
        for name, value in changes.items():
            if name not in CHANGEABLE:
                raise TypeError(f"update_run can't change {name!r}")
            kind = CHANGEABLE[name]
            if kind in (list, dict):
                record[name] = json.dumps(kind(value))
            else:
                record[name] = writable(value) if kind is str else kind(value)
        with self.write() as db:
            number = require_run(db, run_id)["number"]
            if record:
                db.table("runs").update(number, record)

    def put_last(self, run_id: str) -> None:
        """Puts a run behind all others, as an example that is nobody's own (`is_example`): it is
        the newest only where it is alone.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            if require_run(db, run_id)["number"] > 0:
                last = "min(0, (SELECT min(number) FROM runs) - 1)"
                db.execute(f"UPDATE runs SET number = {last} WHERE id = ?", [run_id])

    def add_warning(self, run_id: str, sentence: str) -> None:
        """Adds a sentence to a run's warnings, once.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            row = require_run(db, run_id)
            warnings = read_json(row["warnings"], list)
            if sentence not in warnings:
                text = json.dumps([*warnings, sentence])
                db.table("runs").update(row["number"], {"warnings": text})

    def add_seconds(self, run_id: str, part: str, seconds: float) -> None:
        """Adds to the time that a part of the run took; a resumed part continues its count.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            row = require_run(db, run_id)
            times = read_json(row["seconds"], dict)
            times[part] = times.get(part, 0.0) + float(seconds)
            db.table("runs").update(row["number"], {"seconds": json.dumps(times)})

    def set_status(self, run_id: str, status: Status, error: str = "") -> None:
        """Moves a run to another status; moving it to the status it has changes nothing.

        Args:
            run_id: the run.
            status: where it goes; `TRANSITIONS` says from where.
            error: a sentence for the user, if the run failed.

        Raises:
            UnknownRun: there is no such run.
            LabError: that status can't follow the current one, or the file can't be written.
        """
        with self.write() as db:
            row = require_run(db, run_id)
            if row["status"] != status:
                self._move(db, row, status, error)

    def heartbeat(self, run_id: str, **progress: Any) -> bool:
        """Records that a run is alive, and its progress.

        Args:
            run_id: the run.
            progress: any of `PROGRESS`; fields that are not named stay as they are.

        Returns:
            Whether the run should stop: a stop was requested, or it is no longer live.

        Raises:
            LabError: the file can't be written.
            TypeError: a name is not in `PROGRESS`; a bug, not the user's fault.
        """
        if "message" in progress:
            progress["message"] = writable(progress["message"])
        unknown = set(progress) - set(PROGRESS)
        if unknown:
            raise TypeError(f"heartbeat can't report {sorted(unknown)}")
        sets = "".join(f", {name} = :{name}" for name in progress)
        with self.write() as db:
            rows = db.execute(
                f"UPDATE runs SET heartbeat = :at{sets} WHERE id = :id "
                "AND status IN ('running', 'stopping') RETURNING stop_requested",
                {**progress, "at": now(), "id": run_id},
            ).fetchall()
        return not rows or bool(rows[0][0])

    def delete_run(self, run_id: str) -> None:
        """Deletes a run's rows and its measurements; the caller deletes its folder.

        A sweep is deleted with its last run.

        Raises:
            UnknownRun: there is no such run.
            LabError: the run is live, or the file can't be written.
        """
        with self.write() as db:
            row = require_run(db, run_id)
            if row["status"] in LIVE:
                raise LabError(f"Run {run_id} is still {row['status']}. Stop it first.")
            db.execute("DELETE FROM runs WHERE id = ?", [run_id])
            db.execute(
                "DELETE FROM contents WHERE content_hash = :hash "
                "AND NOT EXISTS (SELECT 1 FROM runs WHERE content_hash = :hash) "
                "AND NOT EXISTS (SELECT 1 FROM fact_sets WHERE content_hash = :hash)",
                {"hash": row["content_hash"]},
            )
            db.execute(
                "DELETE FROM sweeps WHERE id = :sweep "
                "AND NOT EXISTS (SELECT 1 FROM runs WHERE sweep_id = :sweep)",
                {"sweep": row["sweep_id"]},
            )

    def _move(self, db: Database, row: dict[str, Any], status: str, error: str = "") -> None:
        if status not in TRANSITIONS[row["status"]]:
            raise LabError(f"Run {row['id']} is {row['status']}; it can't become {status}.")
        record: dict[str, Any] = {"status": status, "error": writable(error)}
        if status == "running":
            record |= {"started": row["started"] or now(), "finished": None, "stop_requested": 0}
        elif status == "queued":
            record |= {"finished": None, "stop_requested": 0, "queue_position": next_place(db)}
            record |= {"message": "", "eta_s": None}
        elif status not in LIVE:
            record |= {"finished": now(), "eta_s": None}
        db.table("runs").update(row["number"], record)


def require_run(db: Database, run_id: str) -> dict[str, Any]:
    """A run's row by column, read inside the caller's transaction.

    Raises:
        UnknownRun: there is no run with exactly that id.
    """
    row = next(iter(db.query("SELECT * FROM runs WHERE id = ?", [run_id])), None)
    if row is None:
        raise _KIND.unknown(run_id)
    return row


def run_exists(db: Database, run_id: str) -> bool:
    """Whether there is a run with exactly that id."""
    return db.execute("SELECT 1 FROM runs WHERE id = ?", [run_id]).fetchone() is not None


def keep_content(db: Database, pack: Pack) -> str:
    """Stores a pack's texts once, under their hash, inside the caller's transaction.

    Returns:
        The hash.
    """
    record = {
        "content_hash": pack.content_hash,
        "facts_csv": pack.facts.to_csv(),
        "prompts_csv": pack.prompts.to_csv(),
    }
    db.table("contents").insert(record, pk="content_hash", ignore=True)
    return record["content_hash"]


def next_place(db: Database) -> int:
    """The queue position after every run that waits."""
    return db.execute("SELECT coalesce(max(queue_position), 0) + 1 FROM runs").fetchone()[0]


def _common(row: dict[str, Any]) -> dict[str, Any]:
    sound = row.pop("sound")
    row["tags"] = tuple(str(tag) for tag in read_json(row["tags"], list))
    row["archived"], row["stop_requested"] = bool(row["archived"]), bool(row["stop_requested"])
    for name, kind in (("k", int), ("total_s", (int, float))):
        row[name] = row[name] if isinstance(row[name], kind) else None
    if not sound:
        row["error"] = f"{row['error']} {DAMAGED}".strip()
    return row


def _where(search: str, status: Any, archived: bool | None) -> tuple[str, list[Any]]:
    parts, values = ["1"], []
    if search.strip():
        columns = ("id", "name", "pack_name", "model", "note", "sweep_id")
        found = [f"{c} LIKE ? ESCAPE '\\'" for c in columns] + [_TAGGED]
        parts.append("(" + " OR ".join(found) + ")")
        values += [like(search.strip())] * len(found)
    if status:
        wanted = [status] if isinstance(status, str) else list(status)
        parts.append(f"status IN ({', '.join('?' * len(wanted))})")
        values += wanted
    if archived is not None:
        parts.append("archived = ?")
        values.append(int(archived))
    return " AND ".join(parts), values
