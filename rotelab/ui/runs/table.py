"""The table of all runs: search, filters, order and pages; and the chooser of the run on show."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import UnknownRun
from rotelab.registry import RunOrder
from rotelab.runs.lab import Lab
from rotelab.ui.components import (
    QUIET,
    STATUS_WORDS,
    bound,
    page_within,
    run_choices,
    run_label,
    sheet,
    status_word,
)
from rotelab.ui.i18n import N_, _, ngettext
from rotelab.ui.runs.detail_html import RUN_HEADERS, run_cells

PAGE = 25
"""Runs on one page of the table."""
ORDERS: dict[RunOrder, str] = {
    "newest": N_("Newest first"),
    "best": N_("Best score first"),
    "longest": N_("Longest first"),
    "name": N_("By name"),
}
"""A click on a column's head sorts only the page on show; this sorts all runs."""

NO_RUNS = N_("No run yet. Make one in the **Train** tab; it will be listed here for good.")
ONLY_EXAMPLE = N_("An example that came with rotelab. Archive it to hide it.")
NO_MATCH = N_("No run matches. Clear the search to see all of them.")


@dataclass(frozen=True)
class RunTable:
    """The table's components.

    Args:
        search: the text that a run must contain.
        status: the statuses that are listed.
        archived: whether the archived runs are listed.
        order: the order of all runs.
        upload: imports a run from a file.
        table: the list of runs.
        run: the chooser of the run on show; its value is a run's id.
        page: 0-based page of the table.
        count: says how many runs there are.
        back: turns a page back.
        on: turns a page on.
    """

    search: gr.Textbox
    status: gr.Dropdown
    archived: gr.Checkbox
    order: gr.Dropdown
    upload: gr.UploadButton
    table: gr.Dataframe
    run: gr.Dropdown
    page: gr.State
    count: gr.Markdown
    back: gr.Button
    on: gr.Button

    @property
    def asked(self) -> list[Any]:
        """The inputs of `list_runs`: which runs, in which order, from which page."""
        return [self.search, self.status, self.archived, self.order, self.page]

    @property
    def listed(self) -> list[Any]:
        """The outputs of `list_runs`."""
        return [self.table, self.count, self.page]


def build_run_table() -> RunTable:
    """Lays out the filters, the table and the chooser under it.

    In single lines, labels beside their fields: on a small screen, too, the result is in sight.
    Nothing can be chosen before the page's own first choice, which would overwrite it.
    """
    with gr.Row(equal_height=True, elem_classes=["one-line"]):
        search = gr.Textbox(
            label=_("Search"), placeholder=_("name, facts, model, note, tag, id…"), max_lines=1,
            scale=3, elem_id="runs-search", show_label=False, container=False,
        )  # fmt: skip
        status = gr.Dropdown(
            [(status_word(name), name) for name in STATUS_WORDS], multiselect=True, value=[],
            label=_("Status"), elem_id="runs-status", scale=3,
        )  # fmt: skip
        archived = gr.Checkbox(
            label=_("Archived runs"), elem_id="runs-archived", min_width=140, container=False
        )
        order = gr.Dropdown(
            [(_(words), order) for order, words in ORDERS.items()], value="newest",
            label=_("Order"), elem_id="runs-order", scale=3, min_width=210,
        )  # fmt: skip
        upload = gr.UploadButton(
            _("Import a run"), file_types=[".zip"], type="filepath", size="md", scale=0,
            min_width=160, elem_id="runs-import",
        )  # fmt: skip
    table = gr.Dataframe(
        headers=[_(head) for head in RUN_HEADERS], datatype="str", type="array", value=[],
        column_widths=["11%", "16%", "9%", "13%", "5%", "8%", "14%", "10%", "14%"],
        interactive=False, max_height=210,
        label=_("Runs"), show_label=False, elem_id="runs-table", buttons=[], wrap=False,
    )  # fmt: skip
    page = gr.State(0)
    with gr.Row(equal_height=True, elem_classes=["one-line"]):
        run = gr.Dropdown(
            [], value=None, elem_id="runs-run", scale=6,
            label=_("Run on show (click a row above, or choose here)"), show_label=False,
            container=False,
        )  # fmt: skip
        count = gr.Markdown(elem_id="runs-count")
        back = gr.Button(_("‹ Newer"), size="sm", min_width=90, scale=0)
        on = gr.Button(_("Older ›"), size="sm", min_width=90, scale=0)
    return RunTable(search, status, archived, order, upload, table, run, page, count, back, on)


def list_runs(
    lab: Lab, search: str, status: Sequence[str], archived: bool, order: RunOrder, page: int
) -> list[Any]:
    """A page of the table: its rows, the words under it, and the page's number.

    Where there are fewer pages than asked for, it is the last one.

    Raises:
        LabError: the registry can't be read.
    """
    wanted = {"search": search or "", "status": list(status or []), "archived": bool(archived)}
    total = lab.registry.count_runs(**wanted)
    page = page_within(page, total, PAGE)
    runs = lab.registry.runs(limit=PAGE, offset=page * PAGE, order=order or "newest", **wanted)
    own = lab.registry.count_runs(examples=False, **wanted)
    if total and not own:
        words = _(ONLY_EXAMPLE)
    elif total:
        shown = sum(not run.is_example for run in runs)
        if shown == own:
            words = ngettext("{n} run", "{n} runs", own).format(n=own)
        else:
            words = _("{first}–{last} of {total} runs").format(
                first=page * PAGE + min(1, shown), last=page * PAGE + shown, total=own
            )
    else:
        words = _(NO_MATCH if lab.registry.count_runs(archived=None) else NO_RUNS)
    return [sheet(RUN_HEADERS, run_cells(runs)), words, page]


def turn(lab: Lab, by: int, *asked: Any) -> list[Any]:
    """`list_runs` some pages further on, or back.

    Raises:
        LabError: the registry can't be read.
    """
    return list_runs(lab, *asked[:-1], asked[-1] + by)


def pick(lab: Lab, event: gr.SelectData) -> Any:
    """Chooses the run whose row was clicked.

    Raises:
        LabError: it has been deleted in the meantime.
    """
    row = event.row_value or []
    return choose(lab, str(row[-1])) if row and row[-1] else gr.skip()


def choose(lab: Lab, run_id: str) -> Any:
    """The chooser with that run chosen, even if it is too old or archived to be listed there.

    Raises:
        LabError: the registry can't be read.
    """
    return gr.Dropdown(choices=choices_with(lab, run_id), value=run_id)


def choices_with(lab: Lab, run_id: str) -> list[tuple[str, str]]:
    """(label, id) of the runs to choose from, that run among them while it exists.

    Raises:
        LabError: the registry can't be read.
    """
    choices = run_choices(lab)
    if run_id not in (value for _, value in choices):
        with contextlib.suppress(UnknownRun):  # deleted in the meantime
            choices.append((run_label(lab.registry.run(run_id)), run_id))
    return choices


def wire_run_table(lab: Lab, table: RunTable) -> None:
    """Lists runs again when a filter changes or a page is turned; chooses a run that is clicked."""
    filters = [table.search, table.status, table.archived, table.order]
    gr.on(
        [one.change for one in filters], bound(list_runs, lab), table.asked, table.listed,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    for button, by in ((table.back, -1), (table.on, 1)):
        button.click(bound(turn, lab, by), table.asked, table.listed, **QUIET)
    table.table.select(bound(pick, lab), None, table.run, **QUIET)
