"""The registry's evaluations: what was measured at a run's checkpoints.

Scores and single answers of the probes, and what was measured inside the model layer by layer:
hidden-state similarities, logit lens, weight changes. What it forgot is in `forgetting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.evaluation.results import (
    MUST_NOT_COME,
    Answers,
    LensReading,
    Prediction,
    Score,
    Similarity,
    WeightChange,
)
from rotelab.registry.database import RegistryFile
from rotelab.registry.rows import in_order, insert_sql, like, number
from rotelab.registry.runs import require_run

CHECKPOINT_ORDER = in_order("checkpoint", CHECKPOINTS) + ", checkpoint"  # then lessons
_COLUMN_OF = {
    "generation_accuracy": "correct",
    "object_probability": "probability",
    "choice_accuracy": "chosen",
    "normalized_probability": "normalized",
    "contains_accuracy": "contains",
}
"""The column of `predictions` that each figure of a `Score` is the mean of."""
_PREDICTION = (
    "probe", "fact_index", "relation", "subject", "object", "prompt", "answer", "correct",
    "probability", "rank", "checkpoint", "chosen", "normalized", "contains", "generated",
)  # fmt: skip


class EvaluationRows(RegistryFile):
    """The part of the registry that stores what was measured at checkpoints."""

    def add_evaluation(
        self,
        run_id: str,
        checkpoint: Checkpoint,
        scores: Mapping[str, Score],
        predictions: Iterable[Prediction],
    ) -> None:
        """Stores one checkpoint's evaluation in place of any earlier one: all of it, or nothing.

        Args:
            run_id: the run.
            checkpoint: the checkpoint that was asked; the predictions' own is ignored.
            scores: a score for each probe.
            predictions: every single answer, in the order in which they are shown.

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
            require_run(db, run_id)
            for table in ("scores", "predictions"):
                db.table(table).delete_where("run_id = ? AND checkpoint = ?", [run_id, checkpoint])
            columns = ("checkpoint", "probe", *Score._fields)
            db.conn.executemany(insert_sql("scores", columns), score_rows)
            db.conn.executemany(insert_sql("predictions", _PREDICTION), rows)

    def scores(self, run_id: str) -> dict[str, dict[str, Score]]:
        """The scores by checkpoint (in the order of training) and probe, as far as measured.

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
        outcome: str | None = None,
        search: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> list[Prediction]:
        """Single answers, by checkpoint and in the order in which they were written.

        Args:
            run_id: the run.
            checkpoint: only those of this checkpoint.
            probe: only those of this probe.
            outcome: only those that ended so, one of `results.OUTCOMES`.
            search: a text that subject, object, prompt or one of the answers must contain.
            limit: how many at most; -1 for all.
            offset: how many to skip.

        Raises:
            LabError: the file can't be read.
        """
        where, values = _prediction_filter(run_id, checkpoint, probe, outcome, search)
        with self.read() as db:
            rows = db.query(
                f"SELECT {', '.join(_PREDICTION)} FROM predictions WHERE {where} "
                f"ORDER BY {CHECKPOINT_ORDER}, number LIMIT ? OFFSET ?",
                [*values, limit, offset],
            )
            return [_prediction(row) for row in rows]

    def count_predictions(
        self,
        run_id: str,
        checkpoint: Checkpoint | None = None,
        probe: str | None = None,
        outcome: str | None = None,
        search: str = "",
    ) -> int:
        """How many answers `predictions` would return without a limit.

        Raises:
            LabError: the file can't be read.
        """
        where, values = _prediction_filter(run_id, checkpoint, probe, outcome, search)
        with self.read() as db:
            row = db.execute(f"SELECT count(*) FROM predictions WHERE {where}", values).fetchone()
        return row[0]

    def known_to_base(self) -> frozenset[tuple[str, str, str]]:
        """(relation, subject, object) of the facts that a base model answered before any training.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                "SELECT DISTINCT relation, subject, object FROM predictions "
                "WHERE checkpoint = 'base' AND correct AND probe != 'unrelated'"
            ).fetchall()
        return frozenset(rows)

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

    def fact_sums(
        self, run_id: str, checkpoint: Checkpoint | None = None, probe: str | None = None
    ) -> dict[str, dict[str, dict[str, Answers]]]:
        """What each figure of a score adds up to for each fact, and over how many questions.

        Args:
            run_id: the run.
            checkpoint: only this checkpoint.
            probe: only this probe.

        Returns:
            By checkpoint, probe and field of `Score`; a figure that was not measured is missing.

        Raises:
            LabError: the file can't be read.
        """
        where, values = _prediction_filter(run_id, checkpoint, probe, None, "")
        sums = ", ".join(f"sum({column}), count({column})" for column in _COLUMN_OF.values())
        with self.read() as db:
            rows = db.execute(
                f"SELECT checkpoint, probe, relation, subject, object, {sums} FROM predictions "
                f"WHERE {where} GROUP BY checkpoint, probe, relation, subject, object "
                f"ORDER BY {CHECKPOINT_ORDER}, probe, min(number)",
                values,
            ).fetchall()
        found: dict[str, dict[str, dict[str, Answers]]] = {}
        for at, asked, *fact, in_all in ((*row[:5], row[5:]) for row in rows):
            figures = found.setdefault(at, {}).setdefault(asked, {})
            for place, figure in enumerate(_COLUMN_OF):
                total, count = in_all[2 * place : 2 * place + 2]
                if count:
                    figures.setdefault(figure, {})[tuple(fact)] = (float(total), count)
        return found

    def add_similarities(self, run_id: str, rows: Iterable[Similarity]) -> None:
        """Stores hidden-state similarities; one for the same layer and name replaces the older.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        values = [(s.checkpoint, int(s.layer), s.name, float(s.value)) for s in rows]
        self._put(run_id, "similarities", values)

    def similarities(self, run_id: str) -> list[Similarity]:
        """A run's hidden-state similarities, by checkpoint, name and layer.

        Raises:
            LabError: the file can't be read.
        """
        rows = self._get(run_id, "similarities", "checkpoint, layer, name, value")
        return [Similarity(*row[:3], number(row[3])) for row in rows]

    def add_lens(self, run_id: str, rows: Iterable[LensReading]) -> None:
        """Stores logit lens readings; one for the same layer and kind of prompt replaces the older.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        values = [(r.checkpoint, int(r.layer), r.role, int(r.n), *map(float, r[4:])) for r in rows]
        self._put(run_id, "lens", values)

    def lens(self, run_id: str) -> list[LensReading]:
        """A run's logit lens readings, by checkpoint, kind of prompt and layer.

        Raises:
            LabError: the file can't be read.
        """
        columns = "checkpoint, layer, name, n, share, probability, rank"
        rows = self._get(run_id, "lens", columns)
        return [LensReading(*row[:4], *map(number, row[4:])) for row in rows]

    def add_weight_changes(self, run_id: str, rows: Iterable[WeightChange]) -> None:
        """Stores how far training moved each matrix; one for the same matrix replaces the older.

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

    def _put(self, run_id: str, table: str, values: list[tuple]) -> None:
        with self.write() as db:
            require_run(db, run_id)
            if values:
                marks = ", ".join("?" * (1 + len(values[0])))
                sql = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"
                db.conn.executemany(sql, [(run_id, *row) for row in values])

    def _get(self, run_id: str, table: str, columns: str) -> list[tuple]:
        with self.read() as db:
            return db.execute(
                f"SELECT {columns} FROM {table} WHERE run_id = ? "
                f"ORDER BY {CHECKPOINT_ORDER}, name, layer",
                [run_id],
            ).fetchall()


def _maybe(kind: type, value: Any) -> Any:
    """The value as that kind; None for what was not measured."""
    return None if value is None else kind(value)


def _prediction_filter(run_id, checkpoint, probe, outcome, search) -> tuple[str, list[Any]]:
    parts, values = ["run_id = ?"], [run_id]
    for column, value in (("checkpoint", checkpoint), ("probe", probe)):
        if value is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    if outcome is not None:
        apart = "IN" if outcome in ("leak", "no-leak") else "NOT IN"
        parts.append(f"probe {apart} ({', '.join('?' * len(MUST_NOT_COME))})")
        parts.append("correct" if outcome in ("right", "leak") else "NOT correct")
        values += MUST_NOT_COME
    if search.strip():
        columns = ("subject", "object", "prompt", "answer", "generated")
        parts.append("(" + " OR ".join(f"{c} LIKE ? ESCAPE '\\'" for c in columns) + ")")
        values += [like(search.strip())] * len(columns)
    return " AND ".join(parts), values


def _prediction(row: dict[str, Any]) -> Prediction:
    row["correct"], row["probability"] = bool(row["correct"]), number(row["probability"])
    row["chosen"], row["contains"] = _maybe(bool, row["chosen"]), _maybe(bool, row["contains"])
    return Prediction(**row)
