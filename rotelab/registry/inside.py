"""What the registry keeps of a model's inside: similarities, the logit lens, changes of weights."""

from __future__ import annotations

from collections.abc import Iterable

from rotelab.registry.rows import (
    CHECKPOINT_ORDER,
    Damage,
    LensReading,
    Similarity,
    WeightChange,
    number,
)
from rotelab.registry.runs import RunRows


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
