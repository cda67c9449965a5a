"""The Experiments tab: choose an experiment, start it on a finished run, watch it and read its
results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import LabError, UnknownRun
from rotelab.experiments import experiment, experiments, runner
from rotelab.registry import ExperimentRow
from rotelab.reports.figures.export import with_tables
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, ago, bound, note, run_name, status_word
from rotelab.ui.experiments.html import (
    about_html,
    cost_html,
    reading_html,
    state_html,
    tables_html,
)
from rotelab.ui.figure_tools import build_plot
from rotelab.ui.i18n import N_, _
from rotelab.ui.polling import Pace, fill_on_news
from rotelab.ui.run_picker import RunChooser, build_run_chooser, offered

TICK_S = 1.0
PACE = Pace(TICK_S, 10)
MAX_RESULTS = 50
IN_ORDER = QUIET | {"concurrency_id": "experiments", "concurrency_limit": 1}
"""For events that fill the same components: they answer in the order in which they were asked.
Otherwise an answer asked for before Start was pressed could overwrite Start's own."""

NO_RUN = N_("An experiment needs a finished run, and there is none yet. Make one on the Train tab.")
NONE_MADE = N_(
    "This experiment has not been made yet. Choose a finished run (the Train tab makes one) and "
    "press Start."
)


@dataclass(frozen=True)
class ExperimentsTab:
    """The tab's components, as far as other code needs them.

    Args:
        choice: the experiment; its value is a name.
        about: its question, its hypothesis and what it needs.
        chooser: of the finished run to start it on.
        cost: which runs it would train, and how long that takes.
        start: starts it.
        stop: stops the one on show while it is running.
        results: those made so far; its value is an experiment's id.
        seen: what is on show: id, status, share, message. This says which experiment is on show,
            not the value of `results`: Gradio checks a value against the current choices, and
            those may have become another experiment's.
        state: how far it is, or how it ended.
        tables: what it found, as tables.
        figure: the same as a figure.
        reading: how to read both.
        clock: polls for news while the tab is on show.
    """

    choice: gr.Radio
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
    clock: gr.Timer

    @property
    def refresh_inputs(self) -> list[Any]:
        """The inputs of `refresh`."""
        return self.chooser.inputs

    @property
    def refresh_outputs(self) -> list[Any]:
        """The outputs of `refresh`."""
        return [*self.chooser.outputs, self.start]

    @property
    def shown(self) -> list[Any]:
        """The outputs of `show`."""
        return [self.seen, self.state, self.tables, self.figure, self.stop]


def build_experiments_tab(lab: Lab) -> ExperimentsTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: registry and jobs.
    """
    known = experiments()
    first = next(iter(known))
    seen = gr.State([])
    with gr.Row():
        with gr.Column(scale=0, min_width=230):
            choice = gr.Radio(
                [(one.title, one.name) for one in known.values()], value=first,
                label=_("Experiment"), elem_id="experiment-choice",
            )  # fmt: skip
        with gr.Column(scale=1):
            about = gr.HTML(about_html(known[first]), padding=False, elem_id="experiment-about")
            with gr.Row(equal_height=True):
                chooser = build_run_chooser(lab, "experiment-run", scale=4)
                start = gr.Button(
                    _("Start"),
                    variant="primary",
                    scale=1,
                    min_width=120,
                    elem_id="experiment-start",
                )
            cost = gr.HTML("", padding=False, elem_id="experiment-cost")
            with gr.Row(equal_height=True):
                results = gr.Dropdown(
                    [], value=None, label=_("Results so far"), elem_id="experiment-made", scale=4
                )
                stop = gr.Button(
                    _("Stop"), variant="stop", scale=1, min_width=120, visible=False,
                    elem_id="experiment-stop",
                )  # fmt: skip
            state = gr.HTML(note(_(NONE_MADE)), padding=False, elem_id="experiment-state")
            figure = build_plot("plot-experiment", _("What it found"), visible=False)
            reading = gr.HTML(reading_html(known[first]), padding=False)
            tables = gr.HTML("", padding=False, elem_id="experiment-tables")
    tab = ExperimentsTab(
        choice, about, chooser, cost, start, stop, results, seen, state, tables, figure, reading,
        gr.Timer(TICK_S),
    )  # fmt: skip
    _wire(lab, tab)
    return tab


# Handlers ----------------------------------------------------------------------------------------


def refresh(lab: Lab, run_id: str | None, known: list[list[str]]) -> list[Any]:
    """Reads the list of finished runs again; in the order of `ExperimentsTab.refresh_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    chooser, now, moved = offered(lab, run_id, known, "finished")
    return [chooser, now, moved, gr.Button(interactive=bool(now))]


def choose(lab: Lab, name: str) -> list[Any]:
    """Describes another experiment and shows one of its results.

    Raises:
        LabError: the registry can't be read.
    """
    about = experiment(name)
    return [about_html(about), reading_html(about), *list_results(lab, name, [])]


def list_results(lab: Lab, name: str, seen: list[Any]) -> list[Any]:
    """The results of an experiment, one of them on show.

    The one on show stays; otherwise the running one is shown, otherwise the newest that finished
    under the experiment's current version, otherwise the newest.

    Raises:
        LabError: the registry can't be read.
    """
    rows = lab.registry.experiment_rows(name, MAX_RESULTS)
    ids = [row.id for row in rows]
    version = experiment(name).version
    best = [row.id for row in rows if row.status == "running"]
    best += [row.id for row in rows if row.status == "finished" and row.version == version]
    chosen = seen[0] if seen and seen[0] in ids else next(iter([*best, *ids]), None)
    return [gr.Dropdown(choices=_labelled(lab, rows), value=chosen), *show(lab, chosen)]


def start_experiment(lab: Lab, name: str, run_id: str | None) -> list[Any]:
    """Starts an experiment and shows it.

    Raises:
        LabError: there is no run to start it on, or as `runner.start`.
    """
    if not run_id:
        raise LabError(_(NO_RUN))
    experiment_id = runner.start(lab, name, run_id)
    return [_results_with(lab, name, experiment_id), *show(lab, experiment_id)]


def stop_experiment(lab: Lab, seen: list[Any]) -> list[Any]:
    """Stops the experiment on show.

    Raises:
        LabError: the registry can't be read or written.
    """
    if seen:
        runner.stop(lab, seen[0])
    return show(lab, seen[0] if seen else None)


def show(lab: Lab, experiment_id: str | None) -> list[Any]:
    """An experiment's progress and results; in the order of `ExperimentsTab.shown`.

    Raises:
        LabError: the registry can't be read.
    """
    nothing = ["", gr.Plot(value=None, visible=False), gr.Button(visible=False)]
    if not experiment_id:
        return [[], note(_(NONE_MADE)), *nothing]
    try:
        row = lab.registry.experiment_row(experiment_id)
        found = runner.result_of(row)
    except UnknownRun:
        return [[], note(_("It has been deleted together with its run.")), *nothing]
    except LabError as error:
        return [[experiment_id], note(str(error), "bad"), *nothing]
    if found is None:
        live = gr.Button(visible=row.status == "running")
        return [_progress_of(row), state_html(row), "", nothing[1], live]
    tables = found.tables()
    figure = with_tables(found.figure(), f"{row.experiment}-{row.id}", tables)
    drawn = gr.Plot(value=figure, visible=True)
    return [_progress_of(row), state_html(row), tables_html(tables), drawn, nothing[2]]


def poll(lab: Lab, name: str, seen: list[Any]) -> Any:
    """What the clock does: updates the running experiment on show where it has moved on.

    Where nothing is on show, it looks for an experiment that was started elsewhere, say on the
    command line. Otherwise nothing changes.

    Raises:
        LabError: the registry can't be read or written.
    """
    if not seen:
        return list_results(lab, name, []) if lab.registry.experiment_rows(name, 1) else gr.skip()
    if len(seen) < 4 or seen[1] != "running":
        return gr.skip()
    runner.running(lab)  # marks an experiment whose process is gone as ended
    row = lab.registry.experiment_row(seen[0])
    now = _progress_of(row)
    if now == list(seen):
        return gr.skip()
    if row.status == "running":
        return [gr.skip(), now, state_html(row), gr.skip(), gr.skip(), gr.skip()]
    return [_results_with(lab, name, row.id), *show(lab, row.id)]


# Parts -------------------------------------------------------------------------------------------


def _progress_of(row: ExperimentRow) -> list[Any]:
    """What `ExperimentsTab.seen` holds of an experiment."""
    return [row.id, row.status, row.share, row.message]


def _results_with(lab: Lab, name: str, chosen: str) -> Any:
    rows = lab.registry.experiment_rows(name, MAX_RESULTS)
    return gr.Dropdown(choices=_labelled(lab, rows), value=chosen)


def _labelled(lab: Lab, rows: list[ExperimentRow]) -> list[tuple[str, str]]:
    """(label, id) of an experiment's results."""
    found = []
    for row in rows:
        about = _run_name(lab, row.run_id) if row.run_id else f"{row.pack_name}{_seed(row)}"
        status = status_word(row.status)
        found.append((f"{about} · {status} · {ago(row.created)} · {row.id}", row.id))
    return found


def _seed(row: ExperimentRow) -> str:
    try:
        return ", " + _("seed {seed}").format(seed=row.config.seed)
    except LabError:  # the stored settings are damaged
        return ""


def _run_name(lab: Lab, run_id: str) -> str:
    run = lab.registry.run(run_id)
    return run.name or f"{run_name(run)} ({run.pack_name})"


def _wire(lab: Lab, tab: ExperimentsTab) -> None:
    filled = [tab.results, *tab.shown]
    tab.choice.change(
        bound(choose, lab), tab.choice, [tab.about, tab.reading, *filled],
        trigger_mode="always_last", **IN_ORDER,
    )  # fmt: skip
    # A page that is opened again shows the running experiment, or the newest result.
    tab.chooser.known.change(
        bound(list_results, lab), [tab.choice, tab.seen], filled,
        trigger_mode="always_last", **IN_ORDER,
    )  # fmt: skip
    gr.on(
        [tab.chooser.run.change, tab.choice.change, tab.figure.change],
        bound(cost_html, lab), [tab.choice, tab.chooser.run], tab.cost,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    tab.results.input(bound(show, lab), tab.results, tab.shown, **IN_ORDER)
    tab.start.click(bound(start_experiment, lab), [tab.choice, tab.chooser.run], filled, **IN_ORDER)
    tab.stop.click(bound(stop_experiment, lab), tab.seen, tab.shown, **IN_ORDER)
    fill_on_news(tab.clock, PACE, bound(poll, lab), [tab.choice, tab.seen], filled)
