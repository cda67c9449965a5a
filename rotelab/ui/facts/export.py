"""The two tables as files: CSV, and a workbook."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rotelab.errors import LabError
from rotelab.facts.csv_text import write_plain_table
from rotelab.facts.facts import COLUMNS as FACT_COLUMNS
from rotelab.facts.facts import MORE_COLUMNS
from rotelab.facts.formats.workbooks import write_workbook
from rotelab.facts.prompts import COLUMNS as PROMPT_COLUMNS
from rotelab.runs.lab import Lab
from rotelab.storage import file_stem
from rotelab.ui.facts.draft import Draft


def export_files(lab: Lab, draft: Draft) -> tuple[Path, ...]:
    """Writes facts and wordings, as they stand, to files of the exports folder.

    Every cell is written as it is. The workbook marks each as text, so no spreadsheet runs a
    formula or takes a name for a number there; in a CSV nothing can keep it from that.

    Returns:
        A CSV of the facts, one of the wordings, and a workbook with both.

    Raises:
        LabError: the files can't be written.
    """
    stem = file_stem(draft.name, "facts")
    tables = {"facts": _fact_table(draft), "prompts": [PROMPT_COLUMNS, *draft.filled_prompts]}
    texts = {name: write_plain_table(rows[0], rows[1:]) for name, rows in tables.items()}
    try:
        # A folder of its own, so that two people's exports never overwrite each other.
        folder = lab.storage.exports / f"facts-{_digest(*texts.values())}"
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{stem}-{name}.csv" for name in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            # With a mark, by which Excel knows UTF-8.
            path.write_text(text, encoding="utf-8-sig", newline="")
        return (*paths, write_workbook(folder / f"{stem}.xlsx", tables))
    except OSError as error:
        raise LabError(f"The files can't be written ({error.strerror}). Free some disk.") from error


def _fact_table(draft: Draft) -> list[tuple[str, ...]]:
    """The facts with those of the further columns that any of them needs."""
    rows = [
        (*row[:3], row[3], draft.old.get((row[0], row[1]), ""), draft.labels.get(row[0], ""))
        for row in draft.filled_facts
    ]
    columns = (*FACT_COLUMNS, *MORE_COLUMNS)
    kept = [i for i in range(len(columns)) if i < len(FACT_COLUMNS) or any(row[i] for row in rows)]
    return [tuple(row[i] for i in kept) for row in (columns, *rows)]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
