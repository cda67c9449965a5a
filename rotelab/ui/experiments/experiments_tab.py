"""The Experiments tab: choose an experiment, start it on a finished run, watch it and read its
results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.experiments import experiment, experiments, runner
from rotelab.experiments.results import recorded
from rotelab.runs.lab import Lab
from rotelab.ui.address import linked_run
from rotelab.ui.components import QUIET, bound, note
from rotelab.ui.experiments.catalogue import (
    CLICKS,
    Entry,
    catalogue_html,
    cost_words,
    entries,
    picked,
)
from rotelab.ui.experiments.group_panel import (
    GroupPanel,
    build_group_panel,
    clear_queue,
    close,
    offer,
    queue_group,
)
from rotelab.ui.experiments.html import (
    about_html,
    reading_html,
)
from rotelab.ui.experiments.results import (
    NONE_MADE,
    choose_recorded,
    list_results,
    poll,
    save_page,
    show,
)
from rotelab.ui.figure_tools import build_plot
from rotelab.ui.i18n import N_, _
from rotelab.ui.polling import Pace, fill_on_news
from rotelab.ui.run_picker import RunChooser, build_run_chooser, offered

TICK_S = 1.0
PACE = Pace(TICK_S, 10)
IN_ORDER = QUIET | {"concurrency_id": "experiments", "concurrency_limit": 1}
"""For events that fill the same components: they answer in the order in which they were asked.
Otherwise an answer asked for before Start was pressed could overwrite Start's own."""

NO_RUN = N_("An experiment needs a finished run, and there is none yet. Make one on the Train tab.")


@dataclass(frozen=True)
class ExperimentsTab:
    """The tab's components, as far as other code needs them.

    Args:
        search: words that a listed experiment contains.
        catalogue: the list of experiments; tells what is clicked.
        known: what is known of each for the chosen run (`catalogue.entries`).
        choice: the name of the experiment on show.
        with_recorded: whether recorded results are shown.
        group: queues a whole group, and says what is running and waiting.
        about: the experiment's question, its hypothesis and what it needs.
        chooser: of the finished run to start it on.
        cost: which runs it would train, and how long that takes.
        start: starts it.
        stop: stops the one on show while it is running or waiting.
        results: those made so far; its value is an experiment's id, or a recorded result's.
        seen: what is on show: id, status, share, message. This says which experiment is on show,
            not the value of `results`: Gradio checks a value against the current choices, and
            those may have become another experiment's.
        state: how far it is, or how it ended.
        tables: what it found, as tables.
        figure: the same as a figure.
        reading: how to read both.
        page: makes one HTML file of the result on show.
        page_file: that file.
        clock: polls for news while the tab is on show.
    """

    search: gr.Textbox
    catalogue: gr.HTML
    known: gr.State
    choice: gr.State
    with_recorded: gr.Checkbox
    group: GroupPanel
    about: gr.HTML
    chooser: RunChooser
    cost: gr.HTML
    start: gr.Button
    stop: gr.Button
    results: gr.Dropdown
    seen: gr.State
    state: gr.HTML
    tables: gr.HTML
    figure: gr.Plot
    reading: gr.HTML
    page: gr.Button
    page_file: gr.DownloadButton
    clock: gr.Timer

    @property
    def refresh_inputs(self) -> list[Any]:
        """The inputs of `refresh`."""
        return self.chooser.inputs

    @property
    def refresh_outputs(self) -> list[Any]:
        """The outputs of `refresh`."""
        return [*self.chooser.outputs, self.start, self.with_recorded]

    @property
    def shown(self) -> list[Any]:
        """The outputs of `show`."""
        return [
            self.seen, self.state, self.tables, self.figure, self.stop, self.page, self.page_file,
        ]  # fmt: skip


def build_experiments_tab(lab: Lab, with_recorded: bool = True) -> ExperimentsTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: registry and jobs.
        with_recorded: whether recorded results are shown where nobody chose.
    """
    first = _first_experiment(with_recorded)
    parts: dict[str, Any] = {"choice": gr.State(first), "known": gr.State({}), "seen": gr.State([])}
    with gr.Row():
        with gr.Column(scale=0, min_width=330, elem_id="experiment-list"):
            parts["search"] = gr.Textbox(
                show_label=False, label=_("Search experiments"), max_lines=1, container=False,
                placeholder=_("Search experiments"), elem_id="experiment-search",
            )  # fmt: skip
            parts["catalogue"] = gr.HTML(
                catalogue_html({}, "", first), padding=False, elem_id="experiment-choice",
                js_on_load=CLICKS,
            )  # fmt: skip
            parts["with_recorded"] = gr.Checkbox(
                _first_choice(lab, with_recorded), label=_("Show recorded results"),
                info=_("They come with rotelab, to be read before you train."),
                elem_id="experiment-recorded",
            )  # fmt: skip
        with gr.Column(scale=1, min_width=320):
            parts |= _build_detail(lab, first)
    tab = ExperimentsTab(**parts, clock=gr.Timer(TICK_S))
    _wire(lab, tab)
    return tab


def _build_detail(lab: Lab, first: str) -> dict[str, Any]:
    """Lays out the experiment on show: what it asks, what it costs, and what it found."""
    made: dict[str, Any] = {"group": build_group_panel()}
    made["about"] = gr.HTML(
        about_html(experiment(first)), padding=False, elem_id="experiment-about"
    )
    with gr.Row(equal_height=True):
        made["chooser"] = build_run_chooser("experiment-run", scale=4)
        made["start"] = gr.Button(
            _("Start"), variant="primary", scale=1, min_width=120, elem_id="experiment-start"
        )
    made["cost"] = gr.HTML("", padding=False, elem_id="experiment-cost")
    with gr.Row(equal_height=True):
        made["results"] = gr.Dropdown(
            [], value=None, label=_("Results so far"), elem_id="experiment-made", scale=4
        )
        made["stop"] = gr.Button(
            _("Stop"), variant="stop", scale=1, min_width=120, visible=False,
            elem_id="experiment-stop",
        )  # fmt: skip
    made["state"] = gr.HTML(note(_(NONE_MADE)), padding=False, elem_id="experiment-state")
    made["figure"] = build_plot("plot-experiment", _("What it found"), visible=False)
    made["reading"] = gr.HTML(reading_html(experiment(first)), padding=False)
    made["tables"] = gr.HTML("", padding=False, elem_id="experiment-tables")
    with gr.Row():
        made["page"] = gr.Button(
            _("As one page to send"), visible=False, size="md", scale=0, min_width=220,
            elem_id="experiment-page",
        )  # fmt: skip
        made["page_file"] = gr.DownloadButton(
            _("Download"), visible=False, variant="primary", size="md", scale=0, min_width=300,
            elem_id="experiment-page-file",
        )  # fmt: skip
    return made


# Handlers ----------------------------------------------------------------------------------------


def refresh(
    lab: Lab, run_id: str | None, known: list[list[str]], request: gr.Request | None = None
) -> list[Any]:
    """Reads the list of finished runs again; in the order of `ExperimentsTab.refresh_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    linked = linked_run(lab, request, "experiments")
    chooser, now, moved = offered(lab, run_id, known, "finished", linked)
    chosen = recorded.choice(lab.storage)
    shown = gr.skip() if chosen is None else chosen
    return [chooser, now, moved, gr.Button(interactive=bool(now)), shown]


def choose(lab: Lab, name: str, with_recorded: bool = False) -> list[Any]:
    """Describes another experiment and shows one of its results.

    Raises:
        LabError: the registry can't be read.
    """
    about = experiment(name)
    return [about_html(about), reading_html(about), *list_results(lab, name, [], with_recorded)]


def start_experiment(
    lab: Lab, name: str, run_id: str | None, with_recorded: bool = False
) -> list[Any]:
    """Starts an experiment and shows it.

    Raises:
        LabError: there is no run to start it on, or as `runner.start`.
    """
    if not run_id:
        raise LabError(_(NO_RUN))
    experiment_id = runner.start(lab, name, run_id)
    return list_results(lab, name, [experiment_id], with_recorded)


def stop_experiment(lab: Lab, seen: list[Any]) -> list[Any]:
    """Stops the experiment on show.

    Raises:
        LabError: the registry can't be read or written.
    """
    if seen:
        runner.stop(lab, seen[0])
    return show(lab, seen[0] if seen else None)


def list_experiments(
    lab: Lab, run_id: str | None, search: str, name: str, with_recorded: bool
) -> list[Any]:
    """What is known of all experiments for the chosen run, their list, and what the one on show
    costs.

    Raises:
        LabError: the registry or a recorded result can't be read.
    """
    known = entries(lab, run_id, with_recorded)
    return [known, catalogue_html(known, search, name), show_cost(known, name)]


def show_cost(known: dict[str, Entry], name: str) -> str:
    """What an experiment would cost on the chosen run, as HTML; empty where none is chosen."""
    entry = known.get(name)
    return cost_words(entry.cost) if entry and entry.cost else ""


# Parts -------------------------------------------------------------------------------------------


def _first_experiment(with_recorded: bool) -> str:
    """The experiment that opens first: one that a visitor can read at once, where there is one."""
    try:
        kept = recorded.all_recorded() if with_recorded else {}
    except LabError:  # `list_experiments` says what is wrong
        kept = {}
    return next(iter([*kept, *experiments()]))


def _first_choice(lab: Lab, with_recorded: bool) -> bool:
    chosen = recorded.choice(lab.storage)
    return with_recorded if chosen is None else chosen


def _wire(lab: Lab, tab: ExperimentsTab) -> None:
    filled = [tab.results, *tab.shown]
    tab.catalogue.click(bound(picked), None, tab.choice, **QUIET)
    tab.choice.change(
        bound(choose, lab), [tab.choice, tab.with_recorded], [tab.about, tab.reading, *filled],
        trigger_mode="always_last", **IN_ORDER,
    )  # fmt: skip
    tab.choice.change(bound(show_cost), [tab.known, tab.choice], tab.cost, **QUIET)
    # A page that is opened again shows the running experiment, or the newest result.
    tab.chooser.known.change(
        bound(list_results, lab), [tab.choice, tab.seen, tab.with_recorded], filled,
        trigger_mode="always_last", **IN_ORDER,
    )  # fmt: skip
    gr.on(
        [tab.chooser.run.change, tab.with_recorded.change, tab.group.moved.change],
        bound(list_experiments, lab),
        [tab.chooser.run, tab.search, tab.choice, tab.with_recorded],
        [tab.known, tab.catalogue, tab.cost],
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    tab.search.change(
        bound(catalogue_html), [tab.known, tab.search, tab.choice], tab.catalogue,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    tab.with_recorded.input(
        bound(choose_recorded, lab), [tab.with_recorded, tab.choice, tab.seen], filled, **IN_ORDER
    )
    tab.results.input(bound(show, lab), tab.results, tab.shown, **IN_ORDER)
    tab.start.click(
        bound(start_experiment, lab), [tab.choice, tab.chooser.run, tab.with_recorded], filled,
        **IN_ORDER,
    )  # fmt: skip
    tab.stop.click(bound(stop_experiment, lab), tab.seen, tab.shown, **IN_ORDER)
    tab.page.click(bound(save_page, lab), tab.seen, tab.page_file, **QUIET)
    _wire_group(lab, tab)
    fill_on_news(
        tab.clock, PACE, bound(poll, lab),
        [tab.choice, tab.seen, tab.group.lined, tab.with_recorded], [*filled, *tab.group.queued],
    )  # fmt: skip


def _wire_group(lab: Lab, tab: ExperimentsTab) -> None:
    group = tab.group
    tab.catalogue.apply(bound(offer), [tab.chooser.run, tab.known], group.offered, **QUIET)
    group.cancel.click(bound(close), None, group.offered, **QUIET)
    group.go.click(
        bound(queue_group, lab), [group.names, tab.chooser.run],
        [*group.offered, *group.queued], **IN_ORDER,
    )  # fmt: skip
    group.clear.click(bound(clear_queue, lab), None, group.queued, **IN_ORDER)
