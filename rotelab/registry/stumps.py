"""The registry's game of stumping a model: the wordings that people tried, and what came of them.

They stay on this machine and are never exported with a run (`transfer.PRIVATE`).
"""

from __future__ import annotations

from typing import NamedTuple

from rotelab.registry.database import RegistryFile
from rotelab.registry.rows import insert_sql, now, writable
from rotelab.registry.runs import require_run


class Stump(NamedTuple):
    """One wording that somebody tried. The registry sets `number`, which counts a run's wordings
    from 1, and `asked`, the time as ISO 8601 in UTC.

    `fact_index` is the fact that was chosen, `known` a `judge.Verdict`'s, and `outcome` one of
    `judging.stumping.OUTCOMES`.
    """

    fact_index: int
    question: str
    checkpoint: str
    answer: str
    known: str
    outcome: str
    number: int = 0
    asked: str = ""


class StumpRows(RegistryFile):
    """The part of the registry that stores the wordings tried on a run's model."""

    def add_stump(self, run_id: str, tried: Stump) -> int:
        """Stores a wording and its outcome; returns its number.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        with self.write() as db:
            require_run(db, run_id)
            count = 1 + db.execute(
                "SELECT coalesce(max(number), 0) FROM stumps WHERE run_id = ?", [run_id]
            ).fetchone()[0]  # fmt: skip
            row = tried._replace(
                number=count, asked=now(), question=writable(tried.question),
                answer=writable(tried.answer),
            )  # fmt: skip
            db.conn.execute(insert_sql("stumps", Stump._fields), (run_id, *row))
        return count

    def stumps(self, run_id: str) -> list[Stump]:
        """The wordings tried on a run's model, oldest first.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(Stump._fields)} FROM stumps WHERE run_id = ? ORDER BY number",
                [run_id],
            ).fetchall()
        return [Stump(*row) for row in rows]
