"""The registry's chat history: people's questions to each run's model, and its answers.

It stays on this machine and is never exported with a run (`transfer.PRIVATE`): people who share a
run may not want to share their own questions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.registry.database import RegistryFile
from rotelab.registry.rows import in_order, insert_sql, now, writable
from rotelab.registry.runs import require_run


class ChatAnswer(NamedTuple):
    """One checkpoint's answer to one question.

    `turn` counts a run's questions from 1; the registry sets it, and `asked`, the time as ISO 8601
    in UTC. `mode` is `completion` or `conversation`, with `, RetroPrompt share` and `, MemFree n`
    behind it where these took part; `known` is that of a `judge.Verdict`;
    `probability` and `rank` are those of the right answer among `among` objects, if it was known.
    """

    checkpoint: Checkpoint
    answer: str
    known: str = ""
    probability: float | None = None
    rank: int | None = None
    among: int | None = None
    turn: int = 0
    asked: str = ""
    mode: str = "completion"
    temperature: float = 0.0
    question: str = ""


class ChatRows(RegistryFile):
    """The part of the registry that stores questions and answers of the chat."""

    def add_chat(
        self,
        run_id: str,
        question: str,
        answers: Iterable[ChatAnswer],
        mode: str = "completion",
        temperature: float = 0.0,
    ) -> int:
        """Stores a question with its answers.

        Returns:
            How many questions the run has been asked, including this one.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        asked = now()
        with self.write() as db:
            require_run(db, run_id)
            turn = 1 + db.execute(
                "SELECT coalesce(max(turn), 0) FROM chat_answers WHERE run_id = ?", [run_id]
            ).fetchone()[0]  # fmt: skip
            rows = [
                a._replace(
                    turn=turn, asked=asked, mode=mode, temperature=float(temperature),
                    question=writable(question), answer=writable(a.answer),
                )
                for a in answers
            ]  # fmt: skip
            db.conn.executemany(
                insert_sql("chat_answers", ChatAnswer._fields), [(run_id, *row) for row in rows]
            )
        return turn

    def chat_history(self, run_id: str, questions: int = -1) -> list[ChatAnswer]:
        """A run's questions and answers: oldest question first, then by checkpoint.

        Args:
            run_id: the run.
            questions: only that many of the newest questions; a negative number for all.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(ChatAnswer._fields)} FROM chat_answers WHERE run_id = ? "
                "AND turn IN (SELECT DISTINCT turn FROM chat_answers WHERE run_id = ? "
                "ORDER BY turn DESC LIMIT ?) ORDER BY turn, "
                + in_order("checkpoint", CHECKPOINTS)
                + ", checkpoint",
                [run_id, run_id, questions],
            ).fetchall()
        return [ChatAnswer(*row) for row in rows]
