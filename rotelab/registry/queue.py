"""The registry's queue: which runs wait, which hold a device, which were asked to stop or died."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any, NamedTuple

from sqlite_utils import Database

from rotelab.config.names import LIVE, RESUMABLE, Status
from rotelab.config.run_config import RunConfig
from rotelab.errors import DeviceTaken, LabError
from rotelab.facts.packs import Pack
from rotelab.registry.ids import new_id
from rotelab.registry.rows import now, versions, writable
from rotelab.registry.runs import RunRows, keep_content, next_place, require_run, run_exists

_WAITS = "sweep_id = ? AND status = 'queued' AND queue_position IS NOT NULL"
_COULD_WAIT = (
    "sweep_id = ? AND status IN ('stopped', 'interrupted', 'failed') AND imported = '' "
    "AND id NOT IN (SELECT run_id FROM cluster_jobs)"
)


class LiveRun(NamedTuple):
    """A live run, with what tells whether its process still exists. `claimed` is ISO 8601, UTC."""

    id: str
    status: Status
    pid: int | None
    pid_started: float | None
    claimed: str | None
    heartbeat: str | None
    stop_requested: bool


class QueueRows(RunRows):
    """The part of the registry that decides which run is next.

    It stores the numbers of processes; `runs.jobs` starts and watches the processes.
    """

    def create_run(
        self,
        config: RunConfig,
        pack: Pack,
        parent_id: str | None = None,
        name: str = "",
        process: tuple[int, float] | None = None,
    ) -> str:
        """Adds a new run at the end of the queue.

        Args:
            config: its settings.
            pack: its facts and prompts; a frozen copy is stored.
            parent_id: the run that it was cloned from.
            name: what the user calls it.
            process: (pid, create time) of a process that runs it now, without queueing it.

        Returns:
            The new run's id, such as `20261123-031500-mother-3f2a`.

        Raises:
            UnknownRun: there is no such parent.
            DeviceTaken: `process` is given and another run holds the device.
            LabError: the file can't be written.
        """
        record = run_record(config, pack, name) | {"parent_id": parent_id}
        with self.write() as db:
            if parent_id is not None:
                require_run(db, parent_id)
            record["queue_position"] = next_place(db)
            run_id = insert_run(db, record, pack)
            if process is not None:
                self._claim(db, run_id, *process)
        return run_id

    def live_runs(self) -> list[LiveRun]:
        """The runs that should have a process.

        Raises:
            LabError: the file can't be read.
        """
        columns = ", ".join(LiveRun._fields)
        with self.read() as db:
            rows = db.execute(
                f"SELECT {columns} FROM runs WHERE status IN ('running', 'stopping') "
                "ORDER BY number"
            ).fetchall()
        return [LiveRun(*row[:-1], bool(row[-1])) for row in rows]

    def claim_next(self) -> str | None:
        """Claims the first waiting run whose device is free; the caller then starts it.

        Two callers never get the same run. `auto` may turn out to be any device, so it never runs
        beside another. A later run never overtakes an earlier one that wants the same device. Runs
        that their sweep will start have no place in the queue and are skipped.

        Returns:
            The run's id, now `running` and without a process; None when nothing can start.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            taken = [device for _, device in _holders(db)]
            waiting = db.execute(
                "SELECT id, device FROM runs WHERE status = 'queued' "
                "AND queue_position IS NOT NULL ORDER BY queue_position, number"
            ).fetchall()
            for run_id, device in waiting:
                if not any(_same_device(device, other) for other in taken):
                    self._take(db, require_run(db, run_id), None, None)
                    return run_id
                taken.append(device)
        return None

    def claim(self, run_id: str, pid: int, pid_started: float, together: bool = False) -> None:
        """Claims one run that waits, or that ended early, for a process that runs it itself.

        Args:
            run_id: the run.
            pid: the process; `pid_started` is when it started.
            together: whether other runs of its sweep may have the device at the same time: its
                processes then share the device themselves.

        Raises:
            UnknownRun: there is no such run.
            DeviceTaken: another run, which the error names, is using the device.
            LabError: this run can't start now.
        """
        with self.write() as db:
            self._claim(db, run_id, pid, pid_started, together)

    def set_process(self, run_id: str, pid: int, pid_started: float) -> bool:
        """Records the process that works on a live run, unless another one already does.

        Returns:
            Whether the run now belongs to that process. If not, the process must end.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            cursor = db.execute(
                "UPDATE runs SET pid = :pid, pid_started = :started WHERE id = :id "
                "AND status IN ('running', 'stopping') AND (pid IS NULL OR pid = :pid)",
                {"pid": pid, "started": pid_started, "id": run_id},
            )
            return cursor.rowcount == 1

    def request_stop(self, run_id: str) -> Status:
        """Asks a run to stop: a waiting run is stopped at once, a running one becomes `stopping`.

        Returns:
            The run's status now. A run that has ended keeps its status.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            row = require_run(db, run_id)
            status = {"queued": "stopped", "running": "stopping"}.get(row["status"], row["status"])
            if status != row["status"]:
                self._move(db, row, status)
            if status in LIVE:
                db.table("runs").update(row["number"], {"stop_requested": 1})
            return status

    def stop_requested(self, run_id: str) -> bool:
        """Whether a run should stop: it was asked to, or it is no longer live.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            row = db.execute(
                "SELECT stop_requested FROM runs WHERE id = ? "
                "AND status IN ('running', 'stopping')",
                [run_id],
            ).fetchone()
        return row is None or bool(row[0])

    def end_dead(self, run_id: str, pid: int | None, status: Status, error: str = "") -> bool:
        """Ends a live run whose process is known to be gone.

        Args:
            run_id: the run.
            pid: the process that was found dead; if the run has another by now, nothing happens.
            status: `interrupted`, `stopped` or `failed`.
            error: a sentence for the user.

        Returns:
            Whether the run was ended by this call.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            found = db.query(
                "SELECT * FROM runs WHERE id = ? AND pid IS ? "
                "AND status IN ('running', 'stopping')",
                [run_id, pid],
            )
            row = next(iter(found), None)
            if row is None:
                return False
            self._move(db, row, status, error)
            return True

    def requeue(self, run_id: str) -> None:
        """Puts a run that ended early at the end of the queue again; its results are kept.

        Raises:
            UnknownRun: there is no such run.
            LabError: the run waits, runs or has finished; or the file can't be written.
        """
        with self.write() as db:
            row = require_run(db, run_id)
            if row["status"] not in RESUMABLE:
                raise LabError(
                    f"Run {run_id} is {row['status']}. Only a run that was stopped, interrupted or "
                    "failed can be resumed; start a new one with the same settings instead."
                )
            _refuse_imported(row)
            _refuse_given_away(db, run_id)
            self._move(db, row, "queued")
            db.table("runs").update(row["number"], {"pid": None, "pid_started": None})

    def move_in_queue(self, run_id: str, by: int) -> int:
        """Moves a waiting run forwards or backwards in the queue; the others keep their order.

        Args:
            run_id: the run.
            by: how many places; negative is sooner. It stops at either end of the queue.

        Returns:
            How many runs are before it now.

        Raises:
            UnknownRun: there is no such run.
            LabError: it does not wait in the queue, or the file can't be written.
        """
        with self.write() as db:
            row = require_run(db, run_id)
            if row["status"] != "queued" or row["queue_position"] is None:
                raise LabError(
                    f"Run {run_id} does not wait in the queue, so it has no place there."
                )
            waiting = db.execute(
                "SELECT number, queue_position FROM runs WHERE status = 'queued' "
                "AND queue_position IS NOT NULL ORDER BY queue_position, number"
            ).fetchall()
            order = [number for number, _ in waiting]
            place = min(max(0, order.index(row["number"]) + by), len(order) - 1)
            order.remove(row["number"])
            order.insert(place, row["number"])
            for number, (_, position) in zip(order, waiting, strict=True):
                db.table("runs").update(number, {"queue_position": position})
        return place

    def stop_waiting(self, sweep_id: str) -> int:
        """Takes every run of a sweep that waits in the queue out of it, all at once; one that runs
        goes on.

        Returns:
            How many there were.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            waiting = list(db.query(f"SELECT * FROM runs WHERE {_WAITS}", [sweep_id]))
            for row in waiting:
                self._move(db, row, "stopped")
        return len(waiting)

    def sweep_queue(self, sweep_id: str) -> tuple[int, list[str]]:
        """How many runs of a sweep wait in the queue, and the ids of those that could go back: they
        ended early, were not imported, and no cluster makes them.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            (count,) = db.execute(
                f"SELECT COUNT(*) FROM runs WHERE {_WAITS}", [sweep_id]
            ).fetchone()
            left = db.execute(
                f"SELECT id FROM runs WHERE {_COULD_WAIT} ORDER BY sweep_position, number",
                [sweep_id],
            ).fetchall()
        return count, [run_id for (run_id,) in left]

    def _claim(
        self, db: Database, run_id: str, pid: int, pid_started: float, together: bool = False
    ) -> None:
        row = require_run(db, run_id)
        if row["status"] not in ("queued", *RESUMABLE):
            raise LabError(f"Run {run_id} is {row['status']}; it can't be started again.")
        _refuse_imported(row)
        _refuse_given_away(db, run_id)
        for holder, device in _holders(db, row["sweep_id"] if together else None):
            if _same_device(row["device"], device):
                raise DeviceTaken(
                    f"Run {holder} is using this device. Wait until it has ended, stop it, or put "
                    "the new run in the queue."
                )
        self._take(db, row, pid, pid_started)

    def _take(self, db: Database, row: dict[str, Any], pid, pid_started) -> None:
        self._move(db, row, "running")
        process = {"pid": pid, "pid_started": pid_started, "claimed": now(), "heartbeat": now()}
        db.table("runs").update(row["number"], process)


def run_record(config: RunConfig, pack: Pack, name: str) -> dict[str, Any]:
    """The columns of a new run's row, except its id and its place."""
    return {
        "name": writable(name.strip()),
        "pack_name": pack.name,
        "model": config.model.name,
        "seed": config.seed,
        "device": config.model.device,
        "versions": json.dumps(versions()),
        "config": json.dumps(config.to_dict()),
    }


def insert_run(db: Database, record: dict[str, Any], pack: Pack) -> str:
    """Inserts a new run and its facts inside the caller's transaction.

    Args:
        db: the connection.
        record: the columns of `run_record`, and those of its place: queue, parent, sweep.
        pack: its facts and prompts.

    Returns:
        The run's id.
    """
    record = record | {"content_hash": keep_content(db, pack), "created": now()}
    while True:
        record["id"] = new_id(name=_slug(pack.name))
        try:
            db.table("runs").insert(record)
            return record["id"]
        except sqlite3.IntegrityError:
            if not run_exists(db, record["id"]):
                raise


def _refuse_imported(row: dict[str, Any]) -> None:
    """Refuses to resume an imported run: that would overwrite results made elsewhere."""
    if row["imported"]:
        raise LabError(
            f"Run {row['id']} was imported, so it can't be resumed. Start a new one with the same "
            "settings instead."
        )


def _refuse_given_away(db: Database, run_id: str) -> None:
    """Refuses to start a run here that a cluster makes: it would be made twice."""
    found = db.execute("SELECT engine, job_id FROM cluster_jobs WHERE run_id = ?", [run_id])
    if job := found.fetchone():
        raise LabError(
            f"Run {run_id} is made elsewhere (on {job[0]}, job {job[1] or 'not submitted yet'}). "
            "`python -m rotelab cluster status` shows it, and `cluster cancel` takes it back."
        )


def _holders(db: Database, but_sweep: str | None = None) -> list[tuple[str, str]]:
    # The worker fills in device_used; until then the device that was asked for counts.
    return db.execute(
        "SELECT id, CASE device_used WHEN '' THEN device ELSE device_used END FROM runs "
        "WHERE status IN ('running', 'stopping') AND (sweep_id IS NULL OR sweep_id IS NOT ?) "
        "ORDER BY number",
        [but_sweep],
    ).fetchall()


def _same_device(one: str, other: str) -> bool:
    one, other = (name + ":0" if name == "cuda" else name for name in (one, other))
    return one == other or "auto" in (one, other)


def _slug(pack_name: str) -> str:
    """A pack's name as a part of an id: lower-case letters and digits, 16 at most."""
    return re.sub(r"[^a-z0-9]+", "-", pack_name.lower()).strip("-")[:16].strip("-") or "run"
