"""The registry's curves: what a run measured while it trained.

Metrics by step, the recall of each fact after each epoch, and the answers to the spot checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from rotelab.config.names import GENERALIZE, MEMORIZE
from rotelab.evaluation.results import SpotAnswer
from rotelab.registry.database import RegistryFile
from rotelab.registry.rows import FactRecall, Metric, in_order, insert_sql, number, writable
from rotelab.registry.runs import require_run

_PHASE_PLACE = in_order("phase", (MEMORIZE, GENERALIZE))
_PHASE_ORDER = f"{_PHASE_PLACE}, phase"


class CurveRows(RegistryFile):
    """The part of the registry that stores what was measured during training."""

    def add_metrics(self, run_id: str, rows: Iterable[Metric]) -> None:
        """Stores metrics; a row with the same phase, step and name replaces the older one.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        rows = list(rows)
        if not rows:
            return
        with self.write() as db:
            require_run(db, run_id)
            seq = db.execute(
                "SELECT coalesce(max(seq), 0) FROM metrics WHERE run_id = ?", [run_id]
            ).fetchone()[0]
            db.conn.executemany(
                insert_sql("metrics", Metric._fields, replace=True),
                [
                    (run_id, m.phase, int(m.step), m.name, float(m.value), int(m.epoch), seq + i)
                    for i, m in enumerate(rows, 1)
                ],
            )

    def metrics(
        self, run_id: str, names: Sequence[str] | None = None, after: int | None = None
    ) -> list[Metric]:
        """A run's metrics by phase (memorize, generalize, others) and step.

        Args:
            run_id: the run.
            names: only these metrics.
            after: only rows written after the one with this `seq` (the largest that the caller
                has seen); a row that was written again counts as new.

        Raises:
            LabError: the file can't be read.
        """
        where, values = "run_id = ?", [run_id]
        if after is not None:
            where += " AND seq > ?"
            values.append(after)
        if names is not None:
            where += f" AND name IN ({', '.join('?' * len(names))})"
            values += names
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(Metric._fields)} FROM metrics WHERE {where} "
                f"ORDER BY {_PHASE_ORDER}, step, name",
                values,
            ).fetchall()
        return [Metric(*row[:3], number(row[3]), *row[4:]) for row in rows]

    def newest_metric(self, run_id: str, name: str) -> float | None:
        """The value of the last row that `metrics` gives for one name; None without any.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            row = db.execute(
                "SELECT value FROM metrics WHERE run_id = ? AND name = ? "
                f"ORDER BY {_PHASE_PLACE} DESC, phase DESC, step DESC LIMIT 1",
                [run_id, name],
            ).fetchone()
        return number(row[0]) if row else None

    def add_fact_recall(
        self, run_id: str, phase: str, epoch: int, recalls: Iterable[FactRecall]
    ) -> None:
        """Stores how well each fact is recalled after an epoch, replacing that epoch's older rows.

        Args:
            run_id: the run.
            phase: `memorize` or `generalize`.
            epoch: how many epochs are done; 0 is before training.
            recalls: one row for each fact; their own `epoch` is ignored. What the model `said` is
                kept for the newest epoch only.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        recalls, place = list(recalls), [run_id, phase, int(epoch)]
        rows = [(*place, int(r.fact_index), float(r.probability), int(r.recalled)) for r in recalls]
        said = [
            (run_id, phase, int(r.fact_index), int(epoch), writable(r.said))
            for r in recalls
            if r.said
        ]
        with self.write() as db:
            require_run(db, run_id)
            db.table("fact_recall").delete_where("run_id = ? AND phase = ? AND epoch = ?", place)
            db.conn.executemany("INSERT INTO fact_recall VALUES (?, ?, ?, ?, ?, ?)", rows)
            db.conn.executemany("INSERT OR REPLACE INTO fact_said VALUES (?, ?, ?, ?, ?)", said)

    def fact_recall(
        self, run_id: str, phase: str, epoch: int | Literal["latest", "all"] = "latest"
    ) -> list[FactRecall]:
        """How well each fact was recalled, by epoch and fact index; empty if not measured.

        Raises:
            LabError: the file can't be read.
        """
        where, values = "run_id = ? AND phase = ?", [run_id, phase]
        if epoch == "latest":
            where += f" AND epoch = (SELECT max(epoch) FROM fact_recall WHERE {where})"
            values *= 2
        elif epoch != "all":
            where += " AND epoch = ?"
            values.append(epoch)
        with self.read() as db:
            rows = db.execute(
                "SELECT fact_index, probability, recalled, epoch, coalesce(said, '') "
                "FROM fact_recall LEFT JOIN fact_said USING (run_id, phase, epoch, fact_index) "
                f"WHERE {where} ORDER BY epoch, fact_index",
                values,
            ).fetchall()
        return [FactRecall(i, number(p), bool(recalled), *more) for i, p, recalled, *more in rows]

    def add_spot_answers(self, run_id: str, rows: Iterable[SpotAnswer]) -> None:
        """Stores answers to the spot checks; one for the same place replaces the older one.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            require_run(db, run_id)
            db.conn.executemany(
                insert_sql("spot_answers", SpotAnswer._fields, replace=True),
                [(run_id, *a._replace(answer=writable(a.answer), correct=int(a.correct)))
                 for a in rows],
            )  # fmt: skip

    def drop_spot_answers(self, run_id: str, phase: str, after: int = 0) -> None:
        """Deletes a phase's answers after a step, because training resumes from there.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            place = [run_id, phase, after]
            db.table("spot_answers").delete_where("run_id = ? AND phase = ? AND step > ?", place)

    def spot_answers(self, run_id: str) -> list[SpotAnswer]:
        """A run's answers to the spot checks so far, in the order of asking.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(SpotAnswer._fields)} FROM spot_answers WHERE run_id = ? "
                f"ORDER BY {_PHASE_ORDER}, step, place",
                [run_id],
            ).fetchall()
        return [SpotAnswer(*row[:-1], bool(row[-1])) for row in rows]

    def spot_count(self, run_id: str) -> int:
        """How many spot answers a run has: a page that polls asks this first.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            row = db.execute("SELECT count(*) FROM spot_answers WHERE run_id = ?", [run_id])
            return row.fetchone()[0]
