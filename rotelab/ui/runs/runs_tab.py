"""The Runs tab: every run that was ever made, and everything that is known of one of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from rotelab.errors import LabError, UnknownRun
from rotelab.registry import RunOrder
from rotelab.runs.export.bundle import import_bundle
from rotelab.runs.lab import Lab, bytes_of, delete, rename, run_again, size_words
from rotelab.ui.components import STATUS_WORDS, bound, escape, run_choices, run_label
from rotelab.ui.polling import Pace, fill_on_news
from rotelab.ui.runs import compare_panel
from rotelab.ui.runs.detail import ANSWER_PAGE, RunView, build_run_view, fill_view, wire_run_view
from rotelab.ui.runs.detail_html import RUN_HEADERS, run_cells

PAGE = 25
"""Runs on one page of the table."""
TICK_S = 2.0
PACE = Pace(TICK_S, 5)
ORDERS = [
    ("Newest first", "newest"), ("Best score first", "best"), ("Longest first", "longest"),
    ("By name", "name"),
]  # fmt: skip
"""A click on a column's head sorts the page of the table; this sorts all runs."""

NO_RUNS = "No run yet. Make one in the **Train** tab; it will be listed here for good."
NO_MATCH = "No run is like that. Clear the search to see all of them."


@dataclass(frozen=True)
class RunsTab:
    """What others need of this tab.

    Args:
        run: the chooser of runs.
        chosen: the id of the chosen run. The chooser's own value is refused by Gradio where it is
            not among its present choices; an id is an id.
        started: takes the id of a run that was started again from here.
        search: the text that a run must contain.
        status: the statuses that are listed.
        archived: whether the archived runs are listed.
        order: in which order.
        page: 0-based page of the table.
        table: the list of runs.
        count: says how many there are.
        view: the detail of the chosen run.
        seen: digest of what is on show, so that the clock sends only news.
        clock: looks for news while the tab is on show.
        bell: has it look at once.
    """

    run: gr.Dropdown
    chosen: gr.State
    started: gr.State
    search: gr.Textbox
    status: gr.Dropdown
    archived: gr.Checkbox
    order: gr.Dropdown
    page: gr.State
    table: gr.Dataframe
    count: gr.Markdown
    view: RunView
    seen: gr.State
    clock: gr.Timer
    bell: gr.Number

    @property
    def refresh_outputs(self) -> list[Any]:
        """What `refresh` fills."""
        return [self.seen, self.bell]

    @property
    def linked(self) -> list[Any]:
        """What `open_link` fills in this tab."""
        return [self.run, self.view.tabs, self.view.compare.others]

    @property
    def filters(self) -> list[Any]:
        """What decides which runs are listed."""
        return [self.search, self.status, self.archived, self.order]


def build_runs_tab(lab: Lab) -> RunsTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: its registry is shown, its jobs are told what to do.
    """
    chosen, started = gr.State(""), gr.State("")
    page, seen = gr.State(0), gr.State(())
    with gr.Row(equal_height=True):
        search = gr.Textbox(
            label="Search", placeholder="name, facts, model, note, tag, id…", max_lines=1, scale=4,
            elem_id="runs-search",
        )  # fmt: skip
        status = gr.Dropdown(
            [(word, name) for name, word in STATUS_WORDS.items()], multiselect=True, value=[],
            label="Status", elem_id="runs-status", scale=3,
        )  # fmt: skip
        archived = gr.Checkbox(label="Archived runs", elem_id="runs-archived", min_width=140)
        order = gr.Dropdown(
            ORDERS, value="newest", label="Order", elem_id="runs-order", scale=2, min_width=150,
        )  # fmt: skip
        upload = gr.UploadButton(
            "Import a run", file_types=[".zip"], type="filepath", size="md", scale=0, min_width=160,
            elem_id="runs-import",
        )  # fmt: skip
    table = gr.Dataframe(
        headers=RUN_HEADERS, datatype="str", type="array", interactive=False, max_height=290,
        column_widths=["11%", "16%", "9%", "13%", "5%", "8%", "14%", "10%", "14%"], value=[],
        label="Runs", show_label=False, elem_id="runs-table", buttons=[], wrap=False,
    )  # fmt: skip
    with gr.Row(equal_height=False):
        run = gr.Dropdown(
            run_choices(lab), value=None, label="Run on show (click a row above, or choose here)",
            elem_id="runs-run", scale=6,
        )  # fmt: skip
        with gr.Column(scale=2, min_width=220):
            count = gr.Markdown(elem_id="runs-count")
            with gr.Row():
                back = gr.Button("‹ Newer", size="sm", min_width=90)
                on = gr.Button("Older ›", size="sm", min_width=90)
    view = build_run_view(lab)
    clock = gr.Timer(TICK_S)
    bell = gr.Number(0, visible=False)
    fill_on_news(
        clock,
        PACE,
        bound(glance, lab),
        [chosen, search, status, archived, order, page, seen],
        [table, count, page, run, seen, *view.filled],
        bell=bell,
    )
    tab = RunsTab(
        run, chosen, started, search, status, archived, order, page, table, count, view, seen,
        clock, bell,
    )  # fmt: skip
    _wire(lab, tab, back, on)
    wire_run_view(lab, chosen, view)
    _wire_actions(lab, tab)
    upload.upload(
        bound(import_run, lab), upload, tab.run, show_progress="full", api_visibility="private",
    )  # fmt: skip
    return tab


def refresh(lab: Lab, request: gr.Request) -> list[Any]:
    """Has all that is on show sent anew, at once; in the order of `RunsTab.refresh_outputs`."""
    # Where the address names a run, that may still be on its way here: the clock does it then.
    linked = request.query_params.get("run")
    return [(), gr.skip() if linked else time.monotonic()]


def open_link(lab: Lab, request: gr.Request) -> list[Any]:
    """Opens the run that the page's address names (`?run=ID`), for `demo.load`; with
    `&compare=ID2,ID3` beside others.

    Fills the page's `gr.Tabs`, in which this tab has the id `runs`, and `RunsTab.linked`.

    Raises:
        LabError: no run, or more than one, goes by that name.
    """
    wanted = str(request.query_params.get("run") or "").strip()
    if not wanted:
        return [gr.skip()] * 4
    run_id = lab.registry.resolve(wanted)
    others = compare_panel.linked(lab, run_id, request.query_params.get("compare"))
    return [gr.Tabs(selected="runs"), choose(lab, run_id), *others]


def choose(lab: Lab, run_id: str) -> Any:
    """The chooser with that run chosen, even if it is too old or archived to be listed there.

    Raises:
        LabError: the registry can't be read.
    """
    return gr.Dropdown(choices=_choices(lab, run_id), value=run_id)


def open_run(lab: Lab, run_id: str | None) -> list[Any]:
    """Shows the run that was chosen; fills `chosen` and then the detail.

    Raises:
        LabError: the registry can't be read.
    """
    return [run_id or "", *fill_view(lab, run_id)]


# Handlers ----------------------------------------------------------------------------------------


def list_runs(
    lab: Lab, search: str, status: Sequence[str], archived: bool, order: RunOrder, page: int
) -> list[Any]:
    """A page of the table: rows, the words under it, and the page's number as far as there is one.

    Raises:
        LabError: the registry can't be read.
    """
    wanted = {"search": search or "", "status": list(status or []), "archived": bool(archived)}
    total = lab.registry.count_runs(**wanted)
    page = min(max(0, int(page or 0)), max(0, (total - 1) // PAGE))
    runs = lab.registry.runs(limit=PAGE, offset=page * PAGE, order=order or "newest", **wanted)
    if total:
        words = f"{page * PAGE + 1}–{page * PAGE + len(runs)} of {total} runs"
    else:
        words = NO_MATCH if lab.registry.count_runs(archived=None) else NO_RUNS
    return [run_cells(runs), words, page]


def turn(
    lab: Lab, by: int, search: str, status: Sequence[str], archived: bool, order: RunOrder,
    page: int,
) -> Any:  # fmt: skip
    """The next page of the table, or the one before.

    Raises:
        LabError: the registry can't be read.
    """
    return list_runs(lab, search, status, archived, order, page + by)


def pick(lab: Lab, event: gr.SelectData) -> Any:
    """Chooses the run whose row was clicked.

    Raises:
        LabError: it has been deleted meanwhile.
    """
    row = event.row_value or []
    return choose(lab, str(row[-1])) if row and row[-1] else gr.skip()


def glance(
    lab: Lab, run_id: str | None, search: str, status: Sequence[str], archived: bool,
    order: RunOrder, page: int, seen: tuple,
) -> Any:  # fmt: skip
    """What the clock does: sends the table and the chosen run's detail where they have changed.

    Raises:
        LabError: the registry can't be read.
    """
    rows, words, page = list_runs(lab, search, status, archived, order, page)
    listed = (repr(rows), words)
    newest = gr.skip()
    if not run_id:
        runs = lab.registry.runs(limit=1, held=False)
        newest = choose(lab, runs[0].id) if runs else gr.skip()
    state = _state(lab, run_id)
    if seen and seen[0] == listed and seen[1] == state and (run_id or not rows):
        return gr.skip()
    fresh_list = not seen or seen[0] != listed
    # A run that was just chosen is filled by its own event, and its tables by hand stay.
    moved = bool(seen) and seen[1] != state and seen[1][:1] == state[:1] and run_id
    detail = fill_view(lab, run_id) if moved else [gr.skip()] * len(RunView.FILLED)
    return [
        rows if fresh_list else gr.skip(),
        words if fresh_list else gr.skip(),
        page,
        gr.Dropdown(choices=_choices(lab, run_id)) if fresh_list and run_id else newest,
        (listed, state),
        *detail,
    ]


def again(lab: Lab, run_id: str | None) -> list[Any]:
    """Starts the chosen run again; fills `started` and `run`.

    Raises:
        LabError: none is chosen, its settings are damaged, or no process can be started.
    """
    new = run_again(lab, _chosen(run_id))
    gr.Info("A new run with the same settings is in the queue. The Train tab shows it at work.")
    return [new, choose(lab, new)]


def import_run(lab: Lab, path: str | None) -> Any:
    """Takes in a run from a file and shows it; fills `run`.

    Raises:
        LabError: the file is no sound bundle; nothing is written then.
    """
    if not path:
        raise LabError("Choose a .rotelab.zip file that “Export the whole run” has made.")
    came = import_bundle(lab.registry, lab.storage, Path(path))
    gr.Info(escape(came.sentence))
    return choose(lab, came.run_id)


def ask_delete(lab: Lab, run_id: str | None) -> list[Any]:
    """Shows what deleting would take away.

    Raises:
        LabError: none is chosen, or it is still at work.
    """
    run = lab.registry.run(_chosen(run_id))
    if run.live or run.status == "queued":
        raise LabError("This run is still waiting or at work. Stop it first, then delete it.")
    answers = lab.registry.count_predictions(run.id)
    words = (
        f"Delete this run for good? Its {answers:,} answers, its curves and its adapters go, which "
        f"frees {size_words(bytes_of(lab, run.id))} on disk. The facts stay where they are."
    )
    return [gr.Group(visible=True), words]


def delete_chosen(lab: Lab, run_id: str | None) -> list[Any]:
    """Deletes the chosen run; fills `run` and hides the question.

    Raises:
        LabError: it is still at work, or its files can't be deleted.
    """
    delete(lab, _chosen(run_id))
    return [gr.Dropdown(choices=run_choices(lab), value=None), gr.Group(visible=False)]


def save_words(lab: Lab, run_id: str | None, name: str, note: str, tags: str) -> list[Any]:
    """Gives the chosen run its name, note and tags; fills its detail.

    Raises:
        LabError: none is chosen, or a text is too long.
    """
    rename(lab, _chosen(run_id), name, note, tags)
    gr.Info("Saved.")
    return fill_view(lab, run_id)


def archive(lab: Lab, run_id: str | None) -> list[Any]:
    """Puts the chosen run into the archive, or takes it out again.

    Raises:
        LabError: none is chosen.
    """
    run = lab.registry.run(_chosen(run_id))
    lab.registry.update_run(run.id, archived=not run.archived)
    gr.Info("Taken out of the archive." if run.archived else "Archived: “Archived runs” lists it.")
    return fill_view(lab, run_id)


def stop(lab: Lab, run_id: str | None) -> list[Any]:
    """Asks the chosen run to stop.

    Raises:
        LabError: none is chosen, or the registry can't be written.
    """
    lab.jobs.stop(_chosen(run_id))
    return fill_view(lab, run_id)


def resume(lab: Lab, run_id: str | None) -> list[Any]:
    """Puts the chosen run in the queue again.

    Raises:
        LabError: none is chosen, or it can't go on.
    """
    lab.jobs.resume(_chosen(run_id))
    return fill_view(lab, run_id)


def move(lab: Lab, by: int, run_id: str | None) -> list[Any]:
    """Lets the chosen run, which waits, go sooner or later.

    Raises:
        LabError: none is chosen, or it does not wait.
    """
    ahead = lab.registry.move_in_queue(_chosen(run_id), by)
    gr.Info(
        "It is the next to start." if not ahead else f"{ahead} of those that wait go before it."
    )
    return fill_view(lab, run_id)


# Wiring ------------------------------------------------------------------------------------------


def _wire(lab: Lab, tab: RunsTab, back: gr.Button, on: gr.Button) -> None:
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    shown_list = [tab.table, tab.count, tab.page]
    changes = [tab.search.change, tab.status.change, tab.archived.change, tab.order.change]
    gr.on(
        changes, bound(list_runs, lab), [*tab.filters, tab.page], shown_list,
        trigger_mode="always_last", **quiet,
    )  # fmt: skip
    for button, by in ((back, -1), (on, 1)):
        button.click(bound(turn, lab, by), [*tab.filters, tab.page], shown_list, **quiet)
    tab.run.change(bound(open_run, lab), tab.run, [tab.chosen, *tab.view.filled], **quiet)
    tab.table.select(bound(pick, lab), None, tab.run, **quiet)


def _wire_actions(lab: Lab, tab: RunsTab) -> None:
    view, quiet = tab.view, {"api_visibility": "private"}
    for button, handler in ((view.stop, stop), (view.resume, resume), (view.archive, archive)):
        button.click(bound(handler, lab), tab.chosen, view.filled, **quiet)
    for button, by in ((view.sooner, -1), (view.later, 1)):
        button.click(bound(move, lab, by), tab.chosen, view.filled, **quiet)
    words = [tab.chosen, view.name, view.note, view.tags]
    view.save.click(bound(save_words, lab), words, view.filled, **quiet)
    view.again.click(bound(again, lab), tab.chosen, [tab.started, tab.run], **quiet)
    view.delete.click(bound(ask_delete, lab), tab.chosen, [view.confirm, view.question], **quiet)
    view.keep.click(lambda: gr.Group(visible=False), None, view.confirm, **quiet)
    view.sure.click(bound(delete_chosen, lab), tab.chosen, [tab.run, view.confirm], **quiet)


def _state(lab: Lab, run_id: str | None) -> tuple:
    """What must be the same for the chosen run's detail to stay as it is."""
    if not run_id:
        return ()
    try:
        run = lab.registry.run(run_id)
    except LabError:
        return (run_id, "gone")
    return (run_id, run.status, run.phase, run.epoch, run.error, run.archived, len(run.warnings))


def _choices(lab: Lab, run_id: str) -> list[tuple[str, str]]:
    choices = run_choices(lab)
    if run_id not in (value for _, value in choices):
        with contextlib.suppress(UnknownRun):  # deleted meanwhile
            choices.append((run_label(lab.registry.run(run_id)), run_id))
    return choices


def _chosen(run_id: str | None) -> str:
    if not run_id:
        raise LabError("Choose a run first: click its row in the table.")
    return run_id


__all__ = ["ANSWER_PAGE", "PAGE", "RunsTab", "build_runs_tab", "choose", "open_link", "refresh"]
