"""The registry's chat history: what each run's model was asked by a person, and what it said.

It stays on this machine: it does not travel with a run (`registry_travel.STAYS`), since who shares
a run need not mean to share their own questions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rotelab.config.names import Checkpoint
from rotelab.errors import UnknownRun
from rotelab.registry.database import RegistryFile
from rotelab.registry.rows import now, writable


class ChatAnswer(NamedTuple):
    """One checkpoint's answer to one question.

    `turn` counts a run's questions from 1 and is set by the registry, like `asked`, the time as
    ISO 8601 in UTC; `mode` is `completion` or `conversation`; `known` as `judging.Verdict` has it;
    `probability` and `rank` are the right answer's among `among` objects, where one was known.
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
    """The part of the registry that keeps what was asked in chat."""

    def add_chat(
        self,
        run_id: str,
        question: str,
        answers: Iterable[ChatAnswer],
        mode: str = "completion",
        temperature: float = 0.0,
    ) -> int:
        """Writes a question with its answers.

        Returns:
            How many questions the run has been asked, this one counted.

        Raises:
            UnknownRun: there is no such run.
            LabError: the file can't be written.
        """
        asked = now()
        with self.write() as db:
            if db.execute("SELECT 1 FROM runs WHERE id = ?", [run_id]).fetchone() is None:
                raise UnknownRun(f"There is no run {run_id[:80]!r}; it may have been deleted.")
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
                f"INSERT INTO chat_answers (run_id, {', '.join(ChatAnswer._fields)}) "
                f"VALUES (?{', ?' * len(ChatAnswer._fields)})",
                [(run_id, *row) for row in rows],
            )
        return turn

    def chat_history(self, run_id: str, questions: int = -1) -> list[ChatAnswer]:
        """What a run was asked, oldest question first, base, memorised and generalised in turn.

        Args:
            run_id: the run.
            questions: only so many of the newest questions; all with a negative number.

        Raises:
            LabError: the file can't be read.
        """
        with self.read() as db:
            rows = db.execute(
                f"SELECT {', '.join(ChatAnswer._fields)} FROM chat_answers WHERE run_id = ? "
                "AND turn IN (SELECT DISTINCT turn FROM chat_answers WHERE run_id = ? "
                "ORDER BY turn DESC LIMIT ?) ORDER BY turn, CASE checkpoint WHEN 'base' THEN 0 "
                "WHEN 'memorized' THEN 1 ELSE 2 END",
                [run_id, run_id, questions],
            ).fetchall()
        return [ChatAnswer(*row) for row in rows]
