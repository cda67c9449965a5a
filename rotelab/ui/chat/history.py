"""The Chat tab's history: what a run was asked, read from the registry, and its export as CSV."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.facts.csv_text import write_table
from rotelab.registry import ChatAnswer
from rotelab.runs.lab import Lab
from rotelab.ui.answer_cards import MAX_HISTORY, history_html
from rotelab.ui.i18n import _, ngettext

COLUMNS = (
    "turn", "asked", "mode", "temperature", "question", "checkpoint", "answer", "known",
    "probability", "rank", "among",
)  # fmt: skip
"""Of the exported table; `rank` is counted from 0, as everywhere in files."""


def shown_history(lab: Lab, run_id: str | None) -> list[Any]:
    """What a run was asked: the table, its export button, and no file to fetch yet.

    Raises:
        LabError: the registry can't be read.
    """
    history = lab.registry.chat_history(run_id, MAX_HISTORY) if run_id else []
    export = gr.Button(visible=bool(history))
    return [history_html(history), export, gr.DownloadButton(visible=False)]


def export_history(lab: Lab, run_id: str | None) -> Any:
    """Writes all that a run was asked into a CSV file and offers it.

    Raises:
        LabError: nothing was asked yet, or the file can't be written.
    """
    history = lab.registry.chat_history(run_id) if run_id else []
    if not run_id or not history:
        raise LabError(_("Nobody has asked this run anything, so there is nothing to export."))
    path = lab.chat_file(run_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The mark at the beginning tells spreadsheets that it is UTF-8.
        path.write_text(write_table(COLUMNS, map(_cells, history)), encoding="utf-8-sig")
    except OSError as error:
        raise LabError(
            f"{path} can't be written ({error.strerror or error}). Free some disk, or check the "
            "folder's permissions."
        ) from error
    asked = len({answer.turn for answer in history})
    words = ngettext("Download {n} question (CSV)", "Download {n} questions (CSV)", asked)
    return gr.DownloadButton(words.format(n=asked), value=str(path), visible=True)


def _cells(answer: ChatAnswer) -> list[str]:
    values = (getattr(answer, column) for column in COLUMNS)
    return ["" if value is None else str(value) for value in values]
