"""The registry's runs that a cluster makes: which are given away, to which job; their return."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rotelab.config.names import RESUMABLE
from rotelab.config.run_config import RunConfig
from rotelab.facts.packs import Pack
from rotelab.registry.queue import QueueRows, run_record
from rotelab.registry.rows import insert_sql, now, writable
from rotelab.registry.runs import keep_content, require_run, run_exists
from rotelab.registry.transfer import AS_JSON, Table

OWN = ("name", "note", "tags", "created", "pack_name", "config", "parent_id", "archived")
"""Columns of a run that stay as they are here when it returns from a cluster."""


class ClusterJob(NamedTuple):
    """A run that a cluster makes.

    Args:
        run_id: the run; `sweep_id` is the sweep that it belongs to.
        engine: `slurm` or `local`.
        job_id: the job's id there; empty where it is not submitted yet.
        folder: the folder that all jobs of the sweep share.
        options: what was asked of the cluster, as JSON.
        state: `planned`, `waiting`, `running`, or `gone` where the cluster no longer knows it.
        share: how much of the run is done, 0 to 1.
        message: what it does.
        submitted: when, ISO 8601 in UTC; empty where it is not yet.
        attempts: how often it was submitted.
    """

    run_id: str
    sweep_id: str
    engine: str
    job_id: str
    folder: str
    options: str
    state: str
    share: float
    message: str
    submitted: str
    attempts: int


_COLUMNS = ", ".join(f"cluster_jobs.{name}" for name in ClusterJob._fields if name != "sweep_id")


class ClusterRows(QueueRows):
    """The part of the registry that knows which runs a cluster makes."""

    def give_to_cluster(
        self, run_ids: Sequence[str], engine: str, folder: str, options: Mapping[str, Any]
    ) -> list[str]:
        """Gives runs of a sweep away: nothing on this machine can start them until they return.

        Args:
            run_ids: runs that wait, or that ended early.
            engine: `slurm` or `local`.
            folder: what the sweep's jobs share.
            options: what is asked of the cluster.

        Returns:
            Those that were given away by this call; the others are finished, live or given already.

        Raises:
            LabError: the file can't be written.
        """
        given = []
        with self.write() as db:
            for run_id in run_ids:
                row = require_run(db, run_id)
                there = db.execute("SELECT 1 FROM cluster_jobs WHERE run_id = ?", [run_id])
                if row["status"] not in ("queued", *RESUMABLE) or there.fetchone():
                    continue
                waits = {"status": "queued", "queue_position": None, "error": "", "finished": None}
                db.table("runs").update(
                    row["number"], {**waits, "stop_requested": 0, "pid": None, "pid_started": None}
                )
                about = {"engine": engine, "folder": folder, "options": json.dumps(dict(options))}
                db.table("cluster_jobs").insert({"run_id": run_id, **about})
                given.append(run_id)
        return given

    def cluster_jobs(self, sweep_id: str = "") -> list[ClusterJob]:
        """The runs that a cluster makes: of one sweep, or of all, in their order.

        Raises:
            LabError: the file can't be read.
        """
        columns = _COLUMNS.replace("cluster_jobs.engine", "runs.sweep_id, cluster_jobs.engine")
        where = "WHERE runs.sweep_id = ?" if sweep_id else ""
        with self.read() as db:
            rows = db.execute(
                f"SELECT {columns} FROM cluster_jobs JOIN runs ON runs.id = cluster_jobs.run_id "
                f"{where} ORDER BY runs.number",
                [sweep_id] if sweep_id else [],
            ).fetchall()
        return [ClusterJob(*row) for row in rows]

    def job_submitted(self, run_id: str, job_id: str) -> None:
        """Records that a run's job has been submitted.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            db.execute(
                "UPDATE cluster_jobs SET job_id = ?, state = 'waiting', submitted = ?, "
                "attempts = attempts + 1 WHERE run_id = ?",
                [job_id, now(), run_id],
            )

    def job_seen(self, run_id: str, state: str, share: float, message: str) -> None:
        """Records how far a run's job is; the run's row tells it too, to lists and to the page.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            cursor = db.execute(
                "UPDATE cluster_jobs SET state = ?, share = ?, message = ? WHERE run_id = ?",
                [state, share, writable(message), run_id],
            )
            if cursor.rowcount:
                db.execute(
                    "UPDATE runs SET share = ?, message = ? WHERE id = ?",
                    [share, writable(message), run_id],
                )

    def take_back(self, run_id: str, status: str = "", error: str = "") -> None:
        """Ends that a cluster makes a run.

        Args:
            run_id: the run.
            status: how it ended there, `stopped` or `failed`; empty leaves it waiting.
            error: why it failed.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            db.execute("DELETE FROM cluster_jobs WHERE run_id = ?", [run_id])
            if status and run_exists(db, run_id):
                db.execute(
                    "UPDATE runs SET status = ?, error = ?, finished = ? "
                    "WHERE id = ? AND status = 'queued'",
                    [status, writable(error), now(), run_id],
                )

    def plant_run(self, run_id: str, config: RunConfig, pack: Pack, name: str) -> None:
        """Adds a run under an id that it has in another registry; one that is there stays.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            if not run_exists(db, run_id):
                about = {"id": run_id, "content_hash": keep_content(db, pack), "created": now()}
                db.table("runs").insert(run_record(config, pack, name) | about)

    def receive_run(
        self,
        run_id: str,
        record: Mapping[str, Any],
        tables: Mapping[str, Table],
        place: Callable[[], None],
    ) -> bool:
        """Fills a run's row and tables with what a cluster made of it: all of it, or nothing.

        Args:
            run_id: the run.
            record: its row there, from `export_run`; what people change here stays.
            tables: its rows in the other tables.
            place: puts the run's files in their place; the last step.

        Returns:
            Whether it was taken in; not where it is finished already.

        Raises:
            UnknownRun: there is no such run.
            LabError: an error of `place`, or the file can't be written.
        """
        changes = {k: json.dumps(v) if k in AS_JSON else v for k, v in record.items()}
        with self.write() as db:
            row = require_run(db, run_id)
            db.execute("DELETE FROM cluster_jobs WHERE run_id = ?", [run_id])
            if row["status"] == "finished":
                return False
            for name, arrived in tables.items():
                db.execute(f"DELETE FROM {name} WHERE run_id = ?", [run_id])
                db.conn.executemany(insert_sql(name, arrived.columns), _with_id(run_id, arrived))
            for name in OWN:
                changes.pop(name, None)
            db.table("runs").update(row["number"], changes)
            place()
        return True


def _with_id(run_id: str, arrived: Table) -> Iterable[tuple]:
    return ((run_id, *values) for values in arrived.rows)
