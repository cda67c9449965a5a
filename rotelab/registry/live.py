"""The registry's live checks: what is understood while a run trains, and what an audience asks it.

Facts answered in words never trained on, one question's answer layer by layer, and the questions
that people ask on the Train tab. Those questions stay on this machine (`transfer.PRIVATE`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rotelab.config.names import GENERALIZE, MEMORIZE
from rotelab.errors import LabError
from rotelab.evaluation.results import LayerChance, Understood
from rotelab.registry.database import RegistryFile
from rotelab.registry.rows import in_order, insert_sql, now, number, writable
from rotelab.registry.runs import require_run

MAX_WAITING = 8
"""Most questions of a run that wait for an answer: each keeps training waiting for a moment."""

HELD_OUT = "held_out"
"""The metric that `understood` adds up to: the share of held-out facts answered."""

_PHASE_ORDER = in_order("phase", (MEMORIZE, GENERALIZE)) + ", phase"


class LiveQuestion(NamedTuple):
    """A question asked on the Train tab. `number` counts a run's questions from 1.

    `answer` is None until it is answered; then `phase` and `step` say when, `checkpoint` which
    state of the model answered, and `known` how (a `judge.Verdict`'s).
    """

    number: int
    asked: str
    question: str
    phase: str = ""
    step: int = 0
    checkpoint: str = ""
    answer: str | None = None
    known: str = ""


class LiveRows(RegistryFile):
    """The part of the registry that stores live checks and the questions of an audience."""

    def add_live_checks(
        self, run_id: str, facts: Iterable[Understood], layers: Iterable[LayerChance]
    ) -> None:
        """Stores what was found after a step; a row for the same place replaces the older one.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            require_run(db, run_id)
            db.conn.executemany(
                insert_sql("understood", Understood._fields, replace=True),
                [(run_id, *f._replace(held_out=int(f.held_out), correct=int(f.correct)))
                 for f in facts],
            )  # fmt: skip
            db.conn.executemany(
                insert_sql("layer_chances", LayerChance._fields, replace=True),
                [(run_id, *layer) for layer in layers],
            )

    def drop_live_checks(self, run_id: str, phase: str, after: int = 0) -> None:
        """Deletes what was found in a phase after a step, because training resumes from there.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            for table, where, more in (
                ("understood", "", []), ("layer_chances", "", []),
                ("metrics", " AND name = ?", [HELD_OUT]),
            ):  # fmt: skip
                place = [run_id, phase, after, *more]
                db.table(table).delete_where(f"run_id = ? AND phase = ? AND step > ?{where}", place)

    def understood(self, run_id: str, newest: bool = False) -> list[Understood]:
        """Which facts a run answered in words, in the order of asking, then by fact.

        Args:
            run_id: the run.
            newest: only each fact's newest row.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(Understood._fields)} FROM understood WHERE run_id = ? "
                f"ORDER BY {_PHASE_ORDER}, step, fact_index",
                [run_id],
            ).fetchall()
        found = [Understood(*r[:3], bool(r[3]), number(r[4]), bool(r[5])) for r in rows]
        return list({row.fact_index: row for row in found}.values()) if newest else found

    def layer_chances(self, run_id: str) -> list[LayerChance]:
        """What each layer would have answered to the run's question, in the order of asking.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(LayerChance._fields)} FROM layer_chances WHERE run_id = ? "
                f"ORDER BY {_PHASE_ORDER}, step, layer",
                [run_id],
            ).fetchall()
        return [LayerChance(*row[:3], number(row[3]), row[4]) for row in rows]

    # Questions of an audience ---------------------------------------------------------------------

    def ask_live(self, run_id: str, question: str) -> int:
        """Keeps a question until the run's process answers it; returns its number.

        Raises:
            UnknownRun: there is no such run.
            LabError: too many wait already, or the file can't be written.
        """
        with self.write() as db:
            require_run(db, run_id)
            last, waiting = db.execute(
                "SELECT coalesce(max(number), 0), coalesce(sum(answer IS NULL), 0) "
                "FROM live_questions WHERE run_id = ?",
                [run_id],
            ).fetchone()
            if waiting >= MAX_WAITING:
                raise LabError(
                    f"{waiting} questions wait for an answer already, and each keeps training "
                    "waiting for a moment. Ask again when one of them is answered."
                )
            db.table("live_questions").insert(
                {"run_id": run_id, "number": last + 1, "asked": now(),
                 "question": writable(question)}
            )  # fmt: skip
        return last + 1

    def answer_live(self, run_id: str, answered: Iterable[LiveQuestion]) -> None:
        """Stores the answers to questions, by their numbers.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            for row in answered:
                said = writable(row.answer or "")
                values = [row.phase, row.step, row.checkpoint, said, row.known]
                db.execute(
                    "UPDATE live_questions SET phase = ?, step = ?, checkpoint = ?, answer = ?, "
                    "known = ? WHERE run_id = ? AND number = ?",
                    [*values, run_id, row.number],
                )

    def live_questions(
        self, run_id: str, waiting: bool = False, most: int = -1
    ) -> list[LiveQuestion]:
        """The questions that a run was asked on the Train tab, oldest first.

        Args:
            run_id: the run.
            waiting: only those without an answer.
            most: only so many of the newest; of those that wait, so many of the oldest.

        Raises:
            LabError: the file can't be read.
        """
        where, order = ("AND answer IS NULL", "number") if waiting else ("", "number DESC")
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(LiveQuestion._fields)} FROM live_questions "
                f"WHERE run_id = ? {where} ORDER BY {order} LIMIT ?",
                [run_id, most],
            ).fetchall()
        return sorted(LiveQuestion(*row) for row in rows)

    def live_counts(self, run_id: str) -> tuple[int, int, int]:
        """How many facts were asked in words, how many questions were asked live, and how many of
        those are answered: a page that polls asks this first.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            return db.execute(
                "SELECT (SELECT count(*) FROM understood WHERE run_id = ?1), count(*), "
                "count(answer) FROM live_questions WHERE run_id = ?1",
                [run_id],
            ).fetchone()
