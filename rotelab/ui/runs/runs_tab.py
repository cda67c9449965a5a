"""The Runs tab: the table of all runs, and everything that is known about one of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.registry import RunOrder
from rotelab.runs.lab import Lab
from rotelab.ui.address import linked_run
from rotelab.ui.components import QUIET, bound, runs_ahead
from rotelab.ui.polling import Pace, fill_on_news
from rotelab.ui.runs.actions import wire_actions
from rotelab.ui.runs.compare_panel import linked
from rotelab.ui.runs.detail import RunDetail, build_run_detail, fill_detail, wire_run_detail
from rotelab.ui.runs.table import (
    RunTable,
    build_run_table,
    choices_with,
    choose,
    list_runs,
    wire_run_table,
)

TICK_S = 2.0
PACE = Pace(TICK_S, 5)


@dataclass(frozen=True)
class RunsTab:
    """The tab's components, as far as other code needs them.

    Args:
        table: all runs, and the chooser of the run on show.
        chosen: the id of the chosen run. Gradio refuses the chooser's own value where it is not
            among the current choices; this one always holds.
        started: takes the id of a run that was started again from here.
        view: the detail of the chosen run.
        seen: digest of what is on show, so that the clock sends only news; and whether a run was
            chosen for the reader.
        clock: polls for news while the tab is on show.
        bell: makes the clock poll at once.
    """

    table: RunTable
    chosen: gr.State
    started: gr.State
    view: RunDetail
    seen: gr.State
    clock: gr.Timer
    bell: gr.Number

    @property
    def refresh_inputs(self) -> list[Any]:
        """The inputs of `refresh`."""
        return [self.chosen]

    @property
    def refresh_outputs(self) -> list[Any]:
        """The outputs of `refresh`."""
        return [self.seen, self.bell]

    @property
    def linked(self) -> list[Any]:
        """The outputs of `open_link` in this tab."""
        return [self.table.run, self.view.tabs, self.view.compare.others]


def build_runs_tab(lab: Lab) -> RunsTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: its registry is shown, its jobs carry out what the buttons say.
    """
    chosen, started, seen = gr.State(""), gr.State(""), gr.State(())
    table = build_run_table()
    view = build_run_detail(lab)
    clock, bell = gr.Timer(TICK_S), gr.Number(0, visible=False)
    fill_on_news(
        clock, PACE, bound(poll, lab), [chosen, *table.asked, seen],
        [*table.listed, table.run, seen, *view.filled], bell=bell,
    )  # fmt: skip
    wire_run_table(lab, table)
    table.run.change(bound(open_run, lab), table.run, [chosen, *view.filled], **QUIET)
    wire_run_detail(lab, chosen, view)
    wire_actions(lab, chosen, started, table, view)
    return RunsTab(table, chosen, started, view, seen, clock, bell)


# Handlers ----------------------------------------------------------------------------------------


def refresh(lab: Lab, run_id: str | None, request: gr.Request) -> list[Any]:
    """Has everything on show sent again, at once; in the order of `RunsTab.refresh_outputs`."""
    # Where the address names a run, that answer may still be on its way: the clock sends it then.
    arriving = request.query_params.get("run") and not run_id
    return [(), gr.skip() if arriving else time.monotonic()]


def open_link(lab: Lab, request: gr.Request) -> list[Any]:
    """Opens the run that the page's address names (`?run=ID`), for `demo.load`; compared with
    others where it says `&compare=ID2,ID3`. Fills `RunsTab.linked`.

    Raises:
        LabError: no run, or more than one, matches a name to compare with.
    """
    run_id = linked_run(lab, request, "runs")
    if not run_id:
        return [gr.skip()] * 3
    return [choose(lab, run_id), *linked(lab, run_id, request.query_params.get("compare"))]


def open_run(lab: Lab, run_id: str | None) -> list[Any]:
    """Shows the run that was chosen; fills `chosen` and then the detail.

    Raises:
        LabError: the registry can't be read.
    """
    return [run_id or "", *fill_detail(lab, run_id)]


def poll(
    lab: Lab, run_id: str | None, search: str, status: Sequence[str], archived: bool,
    order: RunOrder, page: int, seen: tuple,
) -> Any:  # fmt: skip
    """What the clock does: sends the table and the chosen run's detail where they have changed.

    Where no run is chosen it chooses the newest, but once: a person may have chosen since.

    Raises:
        LabError: the registry can't be read.
    """
    rows, words, page = list_runs(lab, search, status, archived, order, page)
    listed = (repr(rows), words)
    runs = [] if run_id else lab.registry.runs(limit=1, held=False)
    offered = bool(runs)
    newest = choose(lab, runs[0].id) if runs and seen[2:] != (True,) else gr.skip()
    state = _state(lab, run_id)
    if seen and seen[0] == listed and seen[1] == state and (run_id or not rows["data"]):
        return gr.skip()
    fresh_list = not seen or seen[0] != listed
    # A run that was only just chosen is filled by its own event.
    moved = bool(seen) and seen[1] != state and seen[1][:1] == state[:1] and run_id
    detail = fill_detail(lab, run_id) if moved else [gr.skip()] * len(RunDetail.FILLED)
    return [
        rows if fresh_list else gr.skip(),
        words if fresh_list else gr.skip(),
        page,
        gr.Dropdown(choices=choices_with(lab, run_id)) if fresh_list and run_id else newest,
        (listed, state, offered),
        *detail,
    ]


def _state(lab: Lab, run_id: str | None) -> tuple:
    """What the chosen run's detail is filled again for, when any of it changes."""
    if not run_id:
        return ()
    try:
        run = lab.registry.run(run_id)
    except LabError:
        return (run_id, "gone")
    state = (run.status, run.phase, run.epoch, run.error, run.archived, len(run.warnings))
    return (run_id, *state, runs_ahead(lab, run))
