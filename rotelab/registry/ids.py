"""Ids of runs, sweeps and experiments: made, and found by a unique beginning or by `latest`."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from rotelab.errors import UnknownRun
from rotelab.storage import RUN_ID

if TYPE_CHECKING:
    from rotelab.registry.database import RegistryFile


def new_id(prefix: str = "", name: str = "") -> str:
    """An id that sorts by time: `20261123-031500-mother-3f2a`, the last part drawn at random.

    Args:
        prefix: what it begins with, such as `sweep-`.
        name: a word or two for people, put between time and random part.
    """
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return f"{prefix}{stamp}-{f'{name}-' if name else ''}{secrets.token_hex(2)}"


class Kind(NamedTuple):
    """A table whose rows people name by their id.

    Args:
        table: its name.
        noun: what one row is called.
        listed: a sentence that says where all of them are listed.
        latest: the word that stands for the newest.
        newest: the SQL order that puts the newest first.
    """

    table: str
    noun: str
    listed: str
    latest: str = "latest"
    newest: str = "number DESC"

    def unknown(self, text: str) -> UnknownRun:
        """The error for an id that is not there."""
        return UnknownRun(
            f"There is no {self.noun} {text[:80]!r}; it may have been deleted. {self.listed}"
        )


def resolve(file: RegistryFile, kind: Kind, text: str) -> str:
    """The id that a whole id, a unique beginning or the word for the newest stands for.

    Raises:
        UnknownRun: no id, or more than one, begins like that.
        LabError: the file can't be read.
    """
    text = text.strip()
    if not text:
        raise UnknownRun(
            f"Which {kind.noun}? Give its id, a unique beginning of it, or `{kind.latest}`."
        )
    if not RUN_ID.fullmatch(text):
        raise kind.unknown(text)
    with file.read() as db:
        if text == kind.latest:
            row = db.execute(
                f"SELECT id FROM {kind.table} ORDER BY {kind.newest} LIMIT 1"
            ).fetchone()
            if row is None:
                raise UnknownRun(f"There is no {kind.noun} yet. Start one first.")
            return row[0]
        found = db.execute(
            f"SELECT id FROM {kind.table} WHERE id >= ? AND id < ? ORDER BY id LIMIT 4",
            [text, text + "\U0010ffff"],
        ).fetchall()
    ids = [row[0] for row in found]
    if not ids:
        raise kind.unknown(text)
    if len(ids) > 1 and ids[0] != text:
        more = ", …" if len(ids) > 3 else ""
        raise UnknownRun(
            f"More than one {kind.noun} begins with {text[:80]!r}: {', '.join(ids[:3])}{more}. "
            "Give more of the id."
        )
    return ids[0]
