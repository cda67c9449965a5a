"""The registry's sweeps: runs planned together, and results that one run reuses from another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlite_utils import Database

from rotelab.config.names import Checkpoint
from rotelab.config.run_config import RunConfig
from rotelab.facts.packs import Pack
from rotelab.registry.ids import Kind, new_id, resolve
from rotelab.registry.queue import QueueRows, insert_run, run_record
from rotelab.registry.rows import RunRow, SweepRow, now, read_json, writable
from rotelab.registry.runs import next_place, require_run

PREFIX = "sweep-"
"""What a sweep's id begins with, so that nobody takes it for a run's."""

_KIND = Kind("sweeps", "sweep", "`python -m rotelab sweeps` lists them all.")


class PlannedRun(NamedTuple):
    """A run of a sweep before it is created."""

    config: RunConfig
    pack: Pack
    name: str = ""


class SweepRows(QueueRows):
    """The part of the registry that stores sweeps."""

    def create_sweep(
        self,
        axes: Mapping[str, Sequence[Any]],
        config: RunConfig,
        runs: Sequence[PlannedRun],
        name: str = "",
        in_queue: bool = False,
    ) -> str:
        """Stores a sweep with all its runs: all of it, or nothing.

        The runs are `queued`; without a place in the queue, unless `in_queue`: then a process that
        makes the sweep starts them itself.

        Args:
            axes: the values of each option that varies, by its path.
            config: the settings that all runs have in common.
            runs: its runs in the order in which they will be made.
            name: what the user calls it.
            in_queue: whether the lab's queue makes its runs, as any others.

        Returns:
            Its id, such as `sweep-20261123-031500-3f2a`.

        Raises:
            LabError: the file can't be written.
        """
        record = {
            "name": writable(name.strip()),
            "created": now(),
            "axes": json.dumps({path: list(values) for path, values in axes.items()}),
            "config": json.dumps(config.to_dict()),
        }
        records = [
            run_record(run.config, run.pack, run.name) | {"sweep_position": position}
            for position, run in enumerate(runs)
        ]
        with self.write() as db:
            taken = {row[0] for row in db.execute("SELECT id FROM sweeps").fetchall()}
            while "id" not in record or record["id"] in taken:
                record["id"] = new_id(PREFIX)
            db.table("sweeps").insert(record)
            for row, run in zip(records, runs, strict=True):
                place = {"queue_position": next_place(db)} if in_queue else {}
                insert_run(db, row | place | {"sweep_id": record["id"]}, run.pack)
        return record["id"]

    def sweep(self, sweep_id: str) -> SweepRow:
        """One sweep.

        Raises:
            UnknownRun: there is no sweep with exactly that id.
            LabError: the file can't be read.
        """
        found = self._sweeps("WHERE id = ?", [sweep_id])
        if not found:
            raise _KIND.unknown(sweep_id)
        return found[0]

    def sweeps(self, limit: int = 100) -> list[SweepRow]:
        """The sweeps, newest first.

        Raises:
            LabError: the file can't be read.
        """
        return self._sweeps("ORDER BY number DESC LIMIT ?", [limit])

    def resolve_sweep(self, text: str) -> str:
        """The id of the sweep that a whole id, a unique beginning or `latest` stands for.

        Raises:
            UnknownRun: no sweep, or more than one, begins like that.
            LabError: the file can't be read.
        """
        return resolve(self, _KIND, text)

    def sweep_runs(self, sweep_id: str) -> list[RunRow]:
        """A sweep's runs in their order, without deleted ones.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            ids = db.execute(
                "SELECT id FROM runs WHERE sweep_id = ? ORDER BY sweep_position, number", [sweep_id]
            ).fetchall()
        return [self.run(run_id) for (run_id,) in ids]

    def join_sweep(self, run_id: str, made: str) -> bool:
        """Replaces a run that a sweep has not begun by a finished one that belongs to no sweep.

        Args:
            run_id: the queued run; it is deleted.
            made: the finished run with the same settings and facts; it takes the queued run's
                place, and its name if it has none of its own.

        Returns:
            Whether it was done; not if one of the two has changed its status meanwhile.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            queued, other = require_run(db, run_id), require_run(db, made)
            if (queued["status"], other["status"], other["sweep_id"]) != (
                "queued", "finished", None,
            ):  # fmt: skip
                return False
            place = {key: queued[key] for key in ("sweep_id", "sweep_position")}
            place["name"] = other["name"] or queued["name"]
            db.execute("DELETE FROM runs WHERE id = ?", [run_id])
            db.table("runs").update(other["number"], place)
        return True

    def take_phase1(self, run_id: str, source: str, origin: str) -> None:
        """Copies what another run recorded in phase 1, and records where it came from.

        Args:
            run_id: the run; what it has recorded of its own phase 1 is replaced.
            source: the run to copy from.
            origin: the run that trained phase 1; `source`, or the run that `source` took it from.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            number = require_run(db, run_id)["number"]
            for table in (
                "metrics", "fact_recall", "fact_said", "spot_answers", "understood",
                "layer_chances",
            ):  # fmt: skip
                _copy(db, table, "phase = 'memorize'", source, run_id)
            db.table("runs").update(number, {"shared_phase1_from": origin})

    def own_phase1(self, run_id: str) -> None:
        """Records that a run trains phase 1 itself.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            db.execute("UPDATE runs SET shared_phase1_from = NULL WHERE id = ?", [run_id])

    def take_evaluation(self, run_id: str, source: str, checkpoint: Checkpoint) -> None:
        """Copies everything that another run measured at a checkpoint, replacing what was there.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        assert checkpoint in ("base", "memorized"), "the generalised model is always a run's own"
        with self.write() as db:
            require_run(db, run_id)
            for table in (
                "similarities", "lens", "damage", "quiz_answers", "predictions", "scores",
            ):  # fmt: skip
                _copy(db, table, f"checkpoint = '{checkpoint}'", source, run_id)

    def _sweeps(self, which: str, values: list[Any]) -> list[SweepRow]:
        with self.read() as db:
            rows = db.execute(
                f"SELECT number, id, name, created, axes, config FROM sweeps {which}", values
            ).fetchall()
            counts: dict[str, dict[str, int]] = {}
            for sweep_id, status, count in db.execute(
                "SELECT sweep_id, status, count(*) FROM runs "
                f"WHERE sweep_id IN (SELECT id FROM sweeps {which}) GROUP BY sweep_id, status",
                values,
            ).fetchall():
                counts.setdefault(sweep_id, {})[status] = count
        return [
            SweepRow(number, sweep_id, name, created, _axes(axes), config, counts.get(sweep_id, {}))
            for number, sweep_id, name, created, axes, config in rows
        ]


def _axes(text: str) -> dict[str, list[Any]]:
    axes = read_json(text, dict)
    return {path: values for path, values in axes.items() if isinstance(values, list)}


def _copy(db: Database, table: str, where: str, source: str, target: str) -> None:
    # The columns are the table's own, so that columns of later migrations are copied too.
    columns = [c.name for c in db.table(table).columns if c.name not in ("run_id", "number")]
    names, order = ", ".join(columns), "ORDER BY number" if table == "predictions" else ""
    db.execute(f"DELETE FROM {table} WHERE run_id = ? AND {where}", [target])
    db.execute(
        f"INSERT INTO {table} (run_id, {names}) SELECT ?, {names} FROM {table} "
        f"WHERE run_id = ? AND {where} {order}",
        [target, source],
    )
