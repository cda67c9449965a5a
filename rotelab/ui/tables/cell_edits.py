"""What a browser does to many cells of a table at once: rows and columns pasted, an edit undone.

Gradio's table takes one cell at a time. The script `assets/cells.js` sends what was pasted, or what
is to be undone, as JSON through a hidden box; the table comes back changed, and with it what would
undo the change.
"""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.ui.components import QUIET, bound
from rotelab.ui.i18n import _, ngettext

MOST_CHARACTERS = 1_000_000
"""Longer texts are better imported as a file."""

Cells = list[list[str]]


def cell_edits(table: gr.Dataframe, table_id: str, columns: int = 0, carried: Sequence[int] = ()):
    """Lays out what a table needs for this, unseen, in the current column, and connects it.

    Args:
        table: with `type="array"`.
        table_id: its element id; ends with `-table`.
        columns: how many can be edited, from the left; 0 for all.
        carried: columns that a new row takes over from the row above where nothing is pasted there.

    Returns:
        The event, for what is to follow a change.
    """
    unseen = {"elem_classes": ["cell-channel"]}
    sent = gr.Textbox(elem_id=f"{table_id}-cells", show_label=False, container=False, **unseen)
    undo = gr.HTML(elem_id=f"{table_id}-undo", padding=False, **unseen)

    def change(message: str, rows: Cells) -> list[Any]:
        changed, inverse = edited(message, rows, columns, carried)
        return [changed, f'<span hidden data-undo="{html.escape(json.dumps(inverse))}"></span>']

    # Not `trigger_mode="once"`: a second paste must not be dropped while the first is taken in.
    return sent.change(
        bound(change), [sent, table], [table, undo], trigger_mode="multiple", **QUIET
    )


def edited(
    message: str, rows: Cells, columns: int = 0, carried: Sequence[int] = ()
) -> tuple[Cells, dict[str, Any]]:
    """The table after an edit, and the edit that undoes it.

    Args:
        message: JSON, either a paste: `row`, `column`, `text`, and `says`, what stands in that cell
            on the page; or an undo: `cells`, each a row, a column, the text to put there and the
            one that must stand there now, and `length`, to how many rows the table goes back.
        rows: the table.
        columns: as `cell_edits`.
        carried: as `cell_edits`.

    Raises:
        LabError: the table on the page is in another order, or something else stands there by now,
            or the text has more columns than there is room for.
    """
    asked = json.loads(message)
    if "cells" in asked:
        return _undone(asked, rows), {}
    return _pasted(asked, rows, columns, carried)


def _undone(asked: dict[str, Any], rows: Cells) -> Cells:
    rows = [list(row) for row in rows]
    for row, column, before, now in asked["cells"]:
        if row >= len(rows) or _text(rows[row][column]) != now:
            raise LabError(_("That can't be undone: the table has changed since."))
        rows[row][column] = before
    return rows[: asked.get("length", len(rows))]


def _pasted(
    asked: dict[str, Any], rows: Cells, columns: int, carried: Sequence[int]
) -> tuple[Cells, dict[str, Any]]:
    row, column, text = asked["row"], asked["column"], asked["text"]
    if row >= len(rows) or _text(rows[row][column]) != asked["says"]:
        raise LabError(
            _(
                "The table is sorted or searched, so pasting would change other rows than it "
                "seems. Show it in its own order, then paste again."
            )
        )
    if len(text) > MOST_CHARACTERS:
        raise LabError(_("That is too much to paste. Save it as a file and import that."))
    lines = grid_of(text)
    wide = max(map(len, lines))
    here = (columns or len(rows[row])) - column
    if wide > here:
        room = ngettext("only {n} column", "only {n} columns", here).format(n=here)
        raise LabError(
            _("You pasted {wide} columns, and there is room for {room} from this cell on.").format(
                wide=wide, room=room
            )
        )
    length, width = len(rows), len(rows[0])
    changed = [list(line) for line in rows]
    while len(changed) < row + len(lines):
        above = changed[-1]
        changed.append([above[i] if i in carried else "" for i in range(width)])
    cells = []
    for i, line in enumerate(lines, row):
        for j, new in enumerate(line, column):
            if i < length and _text(rows[i][j]) != new:
                cells.append([i, j, _text(rows[i][j]), new])
            changed[i][j] = new
    return changed, {"cells": cells, "length": length}


def grid_of(text: str) -> Cells:
    """What a spreadsheet puts on the clipboard: lines of cells with tabs between; a cell with a
    line break or a tab in it stands in quotation marks."""
    text = text.removesuffix("\n").removesuffix("\r")
    if '"' not in text:
        return [line.split("\t") for line in text.splitlines()] or [[""]]
    return [line or [""] for line in csv.reader(io.StringIO(text, newline=""), delimiter="\t")]


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)
