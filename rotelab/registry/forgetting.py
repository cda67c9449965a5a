"""What runs forgot: perplexity, real facts and distance from the base model at each checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.evaluation.results import Damage, QuizAnswer
from rotelab.registry.database import RegistryFile
from rotelab.registry.evaluations import CHECKPOINT_ORDER
from rotelab.registry.rows import insert_sql, number, read_config
from rotelab.registry.runs import require_run

MOST_DAMAGED = 300
"""How many earlier runs `finished_damage` reads at most: their settings take a quarter of a
millisecond each, and it is asked whenever a value on the Train form changes."""


class ForgettingRows(RegistryFile):
    """The part of the registry that stores what runs forgot (tables `damage`, `quiz_answers`)."""

    def add_damage(self, run_id: str, row: Damage, quiz: Iterable[QuizAnswer] = ()) -> None:
        """Stores a checkpoint's forgetting in place of any earlier one: all of it, or nothing.

        Args:
            run_id: the run.
            row: the figures.
            quiz: the single answers to the quiz of real facts, of the same checkpoint.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        rows = [
            (run_id, row.checkpoint, int(a.place), a.question, a.expected, a.said,
             int(a.correct))
            for a in quiz
        ]  # fmt: skip
        with self.write() as db:
            require_run(db, run_id)
            for table in ("damage", "quiz_answers"):
                where, which = "run_id = ? AND checkpoint = ?", [run_id, row.checkpoint]
                db.table(table).delete_where(where, which)
            db.conn.execute(insert_sql("damage", Damage._fields), (run_id, *row))
            db.conn.executemany(insert_sql("quiz_answers", QuizAnswer._fields), rows)

    def quiz_answers(self, run_id: str) -> dict[str, list[QuizAnswer]]:
        """Answers to the quiz of real facts by checkpoint, each in the order of the questions.

        Empty for runs of older versions, which kept their share alone, and where it was not asked.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(QuizAnswer._fields)} FROM quiz_answers WHERE run_id = ? "
                f"ORDER BY {CHECKPOINT_ORDER}, place",
                [run_id],
            ).fetchall()
        found: dict[str, list[QuizAnswer]] = {}
        for *values, correct in rows:
            answer = QuizAnswer(*values, bool(correct))
            found.setdefault(answer.checkpoint, []).append(answer)
        return found

    def damage(self, run_id: str) -> dict[str, Damage]:
        """A run's forgetting by checkpoint; empty where it was not measured.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(Damage._fields)} FROM damage WHERE run_id = ? "
                f"ORDER BY {CHECKPOINT_ORDER}",
                [run_id],
            ).fetchall()
        return {values[0]: _damage(values) for values in rows}

    def finished_damage(self, model: str) -> list[tuple[RunConfig, dict[str, Damage]]]:
        """Settings and forgetting of the newest own finished runs with that model, archived ones
        too: of `MOST_DAMAGED` at most.

        Runs whose settings are damaged, or of which no forgetting was measured, are left out.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT id, config, {', '.join(Damage._fields)} FROM damage "
                "JOIN runs ON runs.id = run_id WHERE runs.number IN (SELECT number FROM runs "
                "WHERE status = 'finished' AND model = ? AND number > 0 "
                "ORDER BY number DESC LIMIT ?) ORDER BY runs.number",
                [model, MOST_DAMAGED],
            ).fetchall()
        stored: dict[str, str] = {}
        found: dict[str, dict[str, Damage]] = {}
        for run_id, config, *values in rows:
            stored[run_id] = config
            found.setdefault(run_id, {})[values[0]] = _damage(values)
        read = []
        for run_id, damage in found.items():
            with suppress(LabError):
                read.append((read_config(stored[run_id], f"run {run_id}"), damage))
        return read


def _damage(values: Sequence[Any]) -> Damage:
    """The row; NaN was stored as NULL."""
    name, perplexity, tokens, quiz, questions, divergence, places = values
    return Damage(
        name, number(perplexity), tokens, number(quiz), questions, number(divergence), places
    )
