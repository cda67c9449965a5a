"""Facts as people have them in Python: pairs, triples, a data frame, a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rotelab.errors import InputError, LabError
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack
from rotelab.facts.prompts import PromptSet
from rotelab.facts.reading.importer import Imported, completed, read_files
from rotelab.facts.reading.notes import Options

GIVEN = "The given facts"
"""What facts from Python are called in errors."""


def facts_of(given: Any, usual_relation: str = "") -> tuple[FactSet, str]:
    """The facts, and what they are called in errors.

    Args:
        given: a file, a data frame, or rows: `(subject, object)`, `(relation, subject, object)`, a
            mapping with these names, or `Fact`.
        usual_relation: the relation of facts that name none.

    Raises:
        LabError: they can't be read as facts.
    """
    if _is_file(given) or _is_frame(given):
        imported = read(given, Options(usual_relation=usual_relation))
        source = Path(given).name if _is_file(given) else GIVEN
        if imported.facts is None:
            raise LabError(f"{source} holds wordings, but no facts.")
        return imported.facts, source
    rows = [_fact(row, place, usual_relation) for place, row in enumerate(given, 1)]
    return FactSet(rows, GIVEN), GIVEN


def pack_of(rows: Iterable[Any], name: str, relation: str = "") -> Pack:
    """A pack of rows, with the wordings that their relations need.

    Raises:
        LabError: a row is not a fact, or the facts do not fit together.
    """
    facts, _ = facts_of(rows, relation)
    prompts, _added = completed(facts, PromptSet([]))
    return Pack(name, facts, prompts)


def read(given: Any, options: Options) -> Imported:
    """Reads a file, or a data frame as if it were one.

    Raises:
        LabError: as `read_files`.
    """
    if _is_file(given):
        return read_files([given], options)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "facts.csv"
        given.to_csv(file, index=False)
        return read_files([file], options)


def _is_file(given: Any) -> bool:
    return isinstance(given, str | Path)


def _is_frame(given: Any) -> bool:
    return hasattr(given, "to_csv")  # pandas is not imported to find out


def _fact(row: Any, place: int, usual: str) -> Fact:
    if isinstance(row, Fact):
        return row
    if isinstance(row, Mapping):
        row = (row.get("relation", usual), row.get("subject", ""), row.get("object", ""))
    parts = [str(part).strip() for part in row] if isinstance(row, tuple | list) else []
    if len(parts) == 2:
        parts = [usual, *parts]
    if len(parts) != 3 or not all(parts):
        raise InputError(
            f"{row!r} is not a fact. Give (subject, object) where there is one relation, else "
            "(relation, subject, object).",
            source=GIVEN,
            row=place,
        )
    return Fact(*parts)
