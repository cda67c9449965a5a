"""The registry's measurements: metrics, recall of each fact, scores, predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlite_utils import Database

from rotelab.config.names import CHECKPOINTS, GENERALIZE, MEMORIZE, Checkpoint
from rotelab.errors import UnknownRun
from rotelab.evaluation.results import (
    Damage,
    LensReading,
    Prediction,
    Score,
    Similarity,
    SpotAnswer,
    WeightChange,
)
from rotelab.registry.database import RegistryFile
from rotelab.registry.rows import FactRecall, Metric, in_order, like, number, writable
from rotelab.registry.runs import RunRows

CHECKPOINT_ORDER = in_order("checkpoint", CHECKPOINTS)
_PHASE_ORDER = in_order("phase", (MEMORIZE, GENERALIZE)) + ", phase"
_PREDICTION = (
    "probe", "fact_index", "relation", "subject", "object", "prompt", "answer", "correct",
    "probability", "rank", "checkpoint", "chosen", "normalized", "contains", "generated",
)  # fmt: skip


class ResultRows(RegistryFile):
    """The part of the registry that keeps what runs measured."""

    def add_metrics(self, run_id: str, rows: Iterable[Metric]) -> None:
        """Writes metrics; a row with the same phase, step and name takes the place of the older.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        rows = list(rows)
        if not rows:
            return
        with self.write() as db:
            _require(db, run_id)
            seq = db.execute(
                "SELECT coalesce(max(seq), 0) FROM metrics WHERE run_id = ?", [run_id]
            ).fetchone()[0]
            db.conn.executemany(
                "INSERT OR REPLACE INTO metrics (run_id, phase, step, name, value, epoch, seq) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
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

    def add_fact_recall(
        self, run_id: str, phase: str, epoch: int, recalls: Iterable[FactRecall]
    ) -> None:
        """Writes how well each fact is known after an epoch, in place of what was there for it.

        Args:
            run_id: the run.
            phase: `memorize` or `generalize`.
            epoch: how many epochs are done; 0 is before training.
            recalls: one row for each fact; their own `epoch` is not looked at. What they `said`
                is kept of the newest epoch only.

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
            _require(db, run_id)
            db.table("fact_recall").delete_where("run_id = ? AND phase = ? AND epoch = ?", place)
            db.conn.executemany("INSERT INTO fact_recall VALUES (?, ?, ?, ?, ?, ?)", rows)
            db.conn.executemany("INSERT OR REPLACE INTO fact_said VALUES (?, ?, ?, ?, ?)", said)

    def fact_recall(
        self, run_id: str, phase: str, epoch: int | Literal["latest", "all"] = "latest"
    ) -> list[FactRecall]:
        """How well each fact was known, by epoch and fact index; empty if not measured.

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
        return [FactRecall(i, number(p), bool(known), *more) for i, p, known, *more in rows]

    def add_spot_answers(self, run_id: str, rows: Iterable[SpotAnswer]) -> None:
        """Writes answers to the fixed questions; one for the same place takes that of the older.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            _require(db, run_id)
            db.conn.executemany(
                f"INSERT OR REPLACE INTO spot_answers (run_id, {', '.join(SpotAnswer._fields)}) "
                f"VALUES (?{', ?' * len(SpotAnswer._fields)})",
                [(run_id, *a._replace(answer=writable(a.answer), correct=int(a.correct)))
                 for a in rows],
            )  # fmt: skip

    def drop_spot_answers(self, run_id: str, phase: str, after: int = 0) -> None:
        """Removes what was answered in a phase after a step, because it is learned anew from there.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            place = [run_id, phase, after]
            db.table("spot_answers").delete_where("run_id = ? AND phase = ? AND step > ?", place)

    def spot_answers(self, run_id: str) -> list[SpotAnswer]:
        """What the fixed questions were answered with so far, in the order of asking.

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
        """How many there are: what a page that polls asks first.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            row = db.execute("SELECT count(*) FROM spot_answers WHERE run_id = ?", [run_id])
            return row.fetchone()[0]

    def add_evaluation(
        self,
        run_id: str,
        checkpoint: Checkpoint,
        scores: Mapping[str, Score],
        predictions: Iterable[Prediction],
    ) -> None:
        """Writes one checkpoint's evaluation in place of any earlier one: all of it, or nothing.

        Args:
            run_id: the run.
            checkpoint: the checkpoint that was asked; the predictions' own is not looked at.
            scores: a score for each probe.
            predictions: every single answer, in the order in which they are to be shown.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        score_rows = [
            (run_id, checkpoint, probe, int(s.n), *(_maybe(float, value) for value in s[1:]))
            for probe, s in scores.items()
        ]
        rows = [
            (run_id, p.probe, int(p.fact_index), p.relation, p.subject, p.object, p.prompt,
             p.answer, int(p.correct), float(p.probability), _maybe(int, p.rank), checkpoint,
             _maybe(int, p.chosen), _maybe(float, p.normalized), _maybe(int, p.contains),
             p.generated)
            for p in predictions
        ]  # fmt: skip
        with self.write() as db:
            _require(db, run_id)
            for table in ("scores", "predictions"):
                db.table(table).delete_where("run_id = ? AND checkpoint = ?", [run_id, checkpoint])
            for table, columns, values in (
                ("scores", ("checkpoint", "probe", *Score._fields), score_rows),
                ("predictions", _PREDICTION, rows),
            ):
                db.conn.executemany(
                    f"INSERT INTO {table} (run_id, {', '.join(columns)}) "
                    f"VALUES (?{', ?' * len(columns)})",
                    values,
                )

    def scores(self, run_id: str) -> dict[str, dict[str, Score]]:
        """The scores by checkpoint (base, memorized, generalized) and probe, as far as measured.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT checkpoint, probe, {', '.join(Score._fields)} FROM scores "
                f"WHERE run_id = ? ORDER BY {CHECKPOINT_ORDER}, probe",
                [run_id],
            ).fetchall()
        found: dict[str, dict[str, Score]] = {}
        for checkpoint, probe, n, accuracy, probability, *more in rows:
            score = Score(n, number(accuracy), number(probability), *more)
            found.setdefault(checkpoint, {})[probe] = score
        return found

    def predictions(
        self,
        run_id: str,
        checkpoint: Checkpoint | None = None,
        probe: str | None = None,
        only_wrong: bool = False,
        search: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> list[Prediction]:
        """Single answers, by checkpoint and in the order in which they were written.

        Args:
            run_id: the run.
            checkpoint: only those of this checkpoint.
            probe: only those of this probe.
            only_wrong: only wrong answers.
            search: a text that subject, object, prompt or one of the answers must contain.
            limit: how many at most; -1 for all.
            offset: how many to skip.

        Raises:
            LabError: the file can't be read.
        """
        where, values = _prediction_filter(run_id, checkpoint, probe, only_wrong, search)
        with self.read() as db:
            rows = db.query(
                f"SELECT {', '.join(_PREDICTION)} FROM predictions WHERE {where} "
                f"ORDER BY {CHECKPOINT_ORDER}, number LIMIT ? OFFSET ?",
                [*values, limit, offset],
            )
            return [_prediction(row) for row in rows]

    def known_to_base(self) -> frozenset[tuple[str, str, str]]:
        """(relation, subject, object) of facts that a base model answered before any training.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                "SELECT DISTINCT relation, subject, object FROM predictions "
                "WHERE checkpoint = 'base' AND correct AND probe != 'unrelated'"
            ).fetchall()
        return frozenset(rows)

    def count_predictions(
        self,
        run_id: str,
        checkpoint: Checkpoint | None = None,
        probe: str | None = None,
        only_wrong: bool = False,
        search: str = "",
    ) -> int:
        """How many answers `predictions` would give without a limit.

        Raises:
            LabError: the file can't be read.
        """
        where, values = _prediction_filter(run_id, checkpoint, probe, only_wrong, search)
        with self.read() as db:
            row = db.execute(f"SELECT count(*) FROM predictions WHERE {where}", values).fetchone()
        return row[0]

    def fact_shares(
        self, run_id: str, checkpoint: Checkpoint, probe: str
    ) -> dict[tuple[str, str, str], tuple[int, int]]:
        """How many answers about each fact are right, and how many there are.

        Returns:
            By (relation, subject, object), in the order in which they were asked.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                "SELECT relation, subject, object, sum(correct), count(*) FROM predictions "
                "WHERE run_id = ? AND checkpoint = ? AND probe = ? "
                "GROUP BY relation, subject, object ORDER BY min(number)",
                [run_id, checkpoint, probe],
            ).fetchall()
        return {(relation, *names): (right, n) for relation, *names, right, n in rows}


def _maybe(kind: type, value: Any) -> Any:
    """The value as that kind; None for what was not measured."""
    return None if value is None else kind(value)


def _require(db: Database, run_id: str) -> None:
    if db.execute("SELECT 1 FROM runs WHERE id = ?", [run_id]).fetchone() is None:
        raise UnknownRun(f"There is no run {run_id[:80]!r}; it may have been deleted.")


def _prediction_filter(run_id, checkpoint, probe, only_wrong, search) -> tuple[str, list[Any]]:
    parts, values = ["run_id = ?"], [run_id]
    for column, value in (("checkpoint", checkpoint), ("probe", probe)):
        if value is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    if only_wrong:
        parts.append("NOT correct")
    if search.strip():
        columns = ("subject", "object", "prompt", "answer", "generated")
        parts.append("(" + " OR ".join(f"{c} LIKE ? ESCAPE '\\'" for c in columns) + ")")
        values += [like(search.strip())] * len(columns)
    return " AND ".join(parts), values


def _prediction(row: dict[str, Any]) -> Prediction:
    row["correct"], row["probability"] = bool(row["correct"]), number(row["probability"])
    row["chosen"], row["contains"] = _maybe(bool, row["chosen"]), _maybe(bool, row["contains"])
    return Prediction(**row)


class InsideRows(RunRows):
    """The part of the registry that keeps what was seen inside a run's model, layer by layer."""

    def add_similarities(self, run_id: str, rows: Iterable[Similarity]) -> None:
        """Writes representation numbers; a row for the same place takes that of the older.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        values = [(s.checkpoint, int(s.layer), s.name, float(s.value)) for s in rows]
        self._put(run_id, "similarities", values)

    def similarities(self, run_id: str) -> list[Similarity]:
        """A run's representation numbers, by checkpoint, name and layer.

        Raises:
            LabError: the file can't be read.
        """
        rows = self._get(run_id, "similarities", "checkpoint, layer, name, value")
        return [Similarity(*row[:3], number(row[3])) for row in rows]

    def add_lens(self, run_id: str, rows: Iterable[LensReading]) -> None:
        """Writes what the logit lens saw; a row for the same place takes that of the older.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        values = [(r.checkpoint, int(r.layer), r.role, int(r.n), *map(float, r[4:])) for r in rows]
        self._put(run_id, "lens", values)

    def lens(self, run_id: str) -> list[LensReading]:
        """What the logit lens saw in a run's model, by checkpoint, kind of prompt and layer.

        Raises:
            LabError: the file can't be read.
        """
        columns = "checkpoint, layer, name, n, share, probability, rank"
        rows = self._get(run_id, "lens", columns)
        return [LensReading(*row[:4], *map(number, row[4:])) for row in rows]

    def add_weight_changes(self, run_id: str, rows: Iterable[WeightChange]) -> None:
        """Writes how far weights moved; a row for the same place takes that of the older.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        values = [
            (r.checkpoint, int(r.layer), r.matrix, float(r.change), float(r.weight)) for r in rows
        ]
        self._put(run_id, "weight_changes", values)

    def weight_changes(self, run_id: str) -> list[WeightChange]:
        """How far each adapter of a run moves the weights, by checkpoint, matrix and layer.

        Raises:
            LabError: the file can't be read.
        """
        rows = self._get(run_id, "weight_changes", "checkpoint, layer, name, value, weight")
        return [WeightChange(*row[:3], *map(number, row[3:])) for row in rows]

    def add_damage(self, run_id: str, row: Damage) -> None:
        """Writes what learning did to all the rest; takes the place of an older row.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        self._put(run_id, "damage", [tuple(row)])

    def damage(self, run_id: str) -> dict[str, Damage]:
        """What learning did to all the rest, by checkpoint; empty where nobody looked.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(Damage._fields)} FROM damage WHERE run_id = ? "
                f"ORDER BY {CHECKPOINT_ORDER}",
                [run_id],
            ).fetchall()
        found = (
            Damage(name, number(p), tokens, number(quiz), questions, number(kl), places)
            for name, p, tokens, quiz, questions, kl, places in rows
        )
        return {row.checkpoint: row for row in found}

    def _put(self, run_id: str, table: str, values: list[tuple]) -> None:
        with self.write() as db:
            self._require(db, run_id)
            marks = ", ".join("?" * (1 + len(values[0]))) if values else ""
            sql = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"
            if values:
                db.conn.executemany(sql, [(run_id, *row) for row in values])

    def _get(self, run_id: str, table: str, columns: str) -> list[tuple]:
        with self.read() as db:
            return db.execute(
                f"SELECT {columns} FROM {table} WHERE run_id = ? "
                f"ORDER BY {CHECKPOINT_ORDER}, name, layer",
                [run_id],
            ).fetchall()
