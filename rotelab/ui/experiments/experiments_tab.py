"""The Experiments tab: choose one, start it on a finished run, see how far it is and what it
found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import LabError, UnknownRun
from rotelab.experiments import Experiment, experiment, experiments, runner
from rotelab.registry import ExperimentRow
from rotelab.reports.figures.export import with_tables
from rotelab.reports.tables import Table, cell_text, worded
from rotelab.runs.lab import Lab
from rotelab.runs.progress import estimate
from rotelab.ui.components import ago, bound, duration, escape, roughly
from rotelab.ui.figure_tools import build_plot
from rotelab.ui.polling import Pace, fill_on_news
from rotelab.ui.run_picker import QUIET, RunChooser, build_run_chooser, offered

TICK_S = 1.0
PACE = Pace(TICK_S, 10)
MAX_RESULTS = 50
ONE_BY_ONE = QUIET | {"concurrency_id": "experiments", "concurrency_limit": 1}
"""Events that fill the same components answer in the order in which they were asked: else what
was made of an experiment before Start was pressed could come after Start's own answer."""

NO_RUN = "An experiment looks at a finished run, and there is none yet. Make one on the Train tab."
NONE_MADE = (
    "This experiment has not been made yet. Choose a finished run (the Train tab makes one) and "
    "press Start."
)
SAFE = "It goes on when this page is closed or loaded again."

TONES = {"finished": "good", "failed": "bad", "interrupted": "warn", "stopped": "warn"}


@dataclass(frozen=True)
class ExperimentsTab:
    """What others need of this tab.

    Args:
        choice: the experiment; its value is a name.
        about: its question, what is expected and what it needs.
        chooser: of the finished run to start it on.
        cost: which runs it would make, and how long that takes.
        start: starts it.
        stop: ends the one that is shown, while it is at work.
        made: those that were made; its value is an experiment's id.
        seen: what is shown now: id, status, share, message. It and not the value of `made` says
            which one is shown: Gradio holds a value against the choices of now, and another
            experiment's may have come meanwhile.
        state: how far it is, or how it ended.
        tables: what it found, in rows.
        figure: the same as a picture.
        reading: how both are read.
        clock: looks for news while the tab is on show.
    """

    choice: gr.Radio
    about: gr.HTML
    chooser: RunChooser
    cost: gr.HTML
    start: gr.Button
    stop: gr.Button
    made: gr.Dropdown
    seen: gr.State
    state: gr.HTML
    tables: gr.HTML
    figure: gr.Plot
    reading: gr.HTML
    clock: gr.Timer

    @property
    def refresh_inputs(self) -> list[Any]:
        """What `refresh` is told."""
        return self.chooser.inputs

    @property
    def refresh_outputs(self) -> list[Any]:
        """What `refresh` fills."""
        return [*self.chooser.outputs, self.start]

    @property
    def shown(self) -> list[Any]:
        """What `show` fills."""
        return [self.seen, self.state, self.tables, self.figure, self.stop]


def build_experiments_tab(lab: Lab) -> ExperimentsTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: registry and jobs.
    """
    there = experiments()
    first = next(iter(there))
    seen = gr.State([])
    with gr.Row():
        with gr.Column(scale=0, min_width=230):
            choice = gr.Radio(
                [(one.title, one.name) for one in there.values()], value=first,
                label="Experiment", elem_id="experiment-choice",
            )  # fmt: skip
        with gr.Column(scale=1):
            about = gr.HTML(about_html(there[first]), padding=False, elem_id="experiment-about")
            with gr.Row(equal_height=True):
                chooser = build_run_chooser(lab, "experiment-run", scale=4)
                start = gr.Button(
                    "Start", variant="primary", scale=1, min_width=120, elem_id="experiment-start"
                )
            cost = gr.HTML("", padding=False, elem_id="experiment-cost")
            with gr.Row(equal_height=True):
                made = gr.Dropdown(
                    [], value=None, label="Made so far", elem_id="experiment-made", scale=4
                )
                stop = gr.Button(
                    "Stop", variant="stop", scale=1, min_width=120, visible=False,
                    elem_id="experiment-stop",
                )  # fmt: skip
            state = gr.HTML(note(NONE_MADE), padding=False, elem_id="experiment-state")
            figure = build_plot("plot-experiment", "What it found", visible=False)
            reading = gr.HTML(reading_html(there[first]), padding=False)
            tables = gr.HTML("", padding=False, elem_id="experiment-tables")
    tab = ExperimentsTab(
        choice, about, chooser, cost, start, stop, made, seen, state, tables, figure, reading,
        gr.Timer(TICK_S),
    )  # fmt: skip
    _wire(lab, tab)
    return tab


def refresh(lab: Lab, run_id: str | None, known: list[list[str]]) -> list[Any]:
    """The finished runs of now; in the order of `ExperimentsTab.refresh_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    chooser, now, moved = offered(lab, run_id, known, "finished")
    return [chooser, now, moved, gr.Button(interactive=bool(now))]


def choose(lab: Lab, name: str) -> list[Any]:
    """Another experiment: what it is, and what was made of it, the one to look at shown.

    Raises:
        LabError: the registry can't be read.
    """
    about = experiment(name)
    return [about_html(about), reading_html(about), *renew(lab, name, [])]


def renew(lab: Lab, name: str, seen: list[Any]) -> list[Any]:
    """What was made of an experiment by now; the one that is shown stays, else the one that is at
    work comes, else the newest that has found something, else the newest.

    Raises:
        LabError: the registry can't be read.
    """
    choices, rows = made_choices(lab, name), lab.registry.experiment_rows(name, MAX_RESULTS)
    ids = [experiment_id for _, experiment_id in choices]
    there = [row.id for row in rows if row.status == "running"]
    there += [
        row.id for row in rows
        if row.status == "finished" and row.version == experiment(name).version
    ]  # fmt: skip
    chosen = seen[0] if seen and seen[0] in ids else next(iter([*there, *ids]), None)
    return [gr.Dropdown(choices=choices, value=chosen), *show(lab, chosen)]


def cost_html(lab: Lab, name: str, run_id: str | None) -> str:
    """Which runs an experiment would make before it measures, and about how long that takes.

    Raises:
        LabError: the registry can't be read.
    """
    if not run_id:
        return ""
    try:
        missing, needed = runner.runs_to_make(lab, name, run_id)
    except UnknownRun:  # deleted meanwhile
        return ""
    except LabError as error:
        return note(str(error), "bad")
    if not needed:
        return _cost("Makes no run: it looks at this one.")
    if not missing:
        return _cost(f"All {needed} runs that it compares are there already.")
    guesses = [estimate(lab, run.config, run.pack).seconds for run in missing]
    there = (
        f" ({needed - len(missing)} of {needed} are there already)" if len(missing) < needed else ""
    )
    runs = "1 run" if len(missing) == 1 else f"{len(missing)} runs"
    words = f"Makes <b>{runs}</b>{there}"
    if None not in guesses:
        words += f", which takes about <b>{roughly(sum(guesses))}</b>, measuring not counted"
    return _cost(f"{words}. What is done is kept if you stop it.")


def _cost(words: str) -> str:
    return f"<p class='sub' role='status'>{words}</p>"


def press(lab: Lab, name: str, run_id: str | None) -> list[Any]:
    """Starts an experiment and shows it.

    Raises:
        LabError: there is no run to start it on, or as `experimenting.start`.
    """
    if not run_id:
        raise LabError(NO_RUN)
    experiment_id = runner.start(lab, name, run_id)
    made = gr.Dropdown(choices=made_choices(lab, name), value=experiment_id)
    return [made, *show(lab, experiment_id)]


def halt(lab: Lab, seen: list[Any]) -> list[Any]:
    """Ends the experiment that is shown.

    Raises:
        LabError: the registry can't be read or written.
    """
    if seen:
        runner.stop(lab, seen[0])
    return show(lab, seen[0] if seen else None)


def show(lab: Lab, experiment_id: str | None) -> list[Any]:
    """One that was made: how far it is and what it found; in the order of `ExperimentsTab.shown`.

    Raises:
        LabError: the registry can't be read.
    """
    nothing = ["", gr.Plot(value=None, visible=False), gr.Button(visible=False)]
    if not experiment_id:
        return [[], note(NONE_MADE), *nothing]
    try:
        row = lab.registry.experiment_row(experiment_id)
        found = runner.result_of(row)
    except UnknownRun:
        return [[], note("It has been deleted together with its run."), *nothing]
    except LabError as error:
        return [[experiment_id], note(str(error), "bad"), *nothing]
    seen = [row.id, row.status, row.share, row.message]
    if found is None:
        live = gr.Button(visible=row.status == "running")
        return [seen, state_html(row), "", nothing[1], live]
    tables = found.tables()
    figure = with_tables(found.figure(), f"{row.experiment}-{row.id}", tables)
    drawn = gr.Plot(value=figure, visible=True)
    return [seen, state_html(row), tables_html(tables), drawn, nothing[2]]


def tick(lab: Lab, name: str, seen: list[Any]) -> Any:
    """The same as `renew` where nothing is shown and something has been made since, say on the
    command line; the same for the one that is shown while it is at work and has moved on; else
    nothing changes.

    Raises:
        LabError: the registry can't be read or written.
    """
    if not seen:
        return renew(lab, name, []) if lab.registry.experiment_rows(name, 1) else gr.skip()
    if len(seen) < 4 or seen[1] != "running":
        return gr.skip()
    runner.running(lab)  # one whose process is gone is ended by this
    row = lab.registry.experiment_row(seen[0])
    if [row.id, row.status, row.share, row.message] == list(seen):
        return gr.skip()
    if row.status == "running":
        now = [row.id, row.status, row.share, row.message]
        return [gr.skip(), now, state_html(row), gr.skip(), gr.skip(), gr.skip()]
    return [gr.Dropdown(choices=made_choices(lab, name), value=row.id), *show(lab, row.id)]


def made_choices(lab: Lab, name: str) -> list[tuple[str, str]]:
    """(label, id) of what was made of an experiment, newest first.

    Raises:
        LabError: the registry can't be read.
    """
    found = []
    for row in lab.registry.experiment_rows(name, MAX_RESULTS):
        about = _run_name(lab, row.run_id) if row.run_id else f"{row.pack_name}{_seed(row)}"
        found.append((f"{about} · {row.status} · {ago(row.created)} · {row.id}", row.id))
    return found


def about_html(about: Experiment) -> str:
    """An experiment in words, as HTML."""
    return (
        f"<div class='experiment'><h2>{escape(about.title)}</h2>"
        f"<p class='asked'>{escape(about.question)}</p>"
        f"{_terms({'Expected': about.hypothesis, 'Needs': about.needs})}</div>"
    )


def reading_html(about: Experiment) -> str:
    """How an experiment's figures are read, and what the paper reports, as HTML."""
    paper = {"The paper": about.paper} if about.paper else {}
    return f"<div class='experiment'>{_terms({'How to read it': about.reading} | paper)}</div>"


def _terms(parts: dict[str, str]) -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in parts.items())
    return f"<dl>{rows}</dl>"


def state_html(row: ExperimentRow) -> str:
    """How far an experiment is, or how it ended, as HTML."""
    if row.status == "running":
        percent = round(100 * min(1.0, max(0.0, row.share)))
        words = row.message or "getting ready"
        return (
            f"<div class='experiment-state note' role='status'><b>{percent} %</b> · "
            f"{escape(words)} · {SAFE}<div class='bar' role='progressbar' "
            f"aria-label='Progress of the experiment' aria-valuenow='{percent}'>"
            f"<div style='width:{percent}%'></div></div></div>"
        )
    words = {
        "finished": f"Finished in {duration(row.seconds)}.",
        "stopped": "Stopped. Press Start to make it again; runs that are done are kept.",
    }.get(row.status, f"{row.status.capitalize()}.")
    said = f"{words} {row.error}".strip()
    ids = [run_id for _, run_id in row.arms]
    measured = "Measured on" if row.status == "finished" else "Began with"
    if len(ids) == 1:
        return note(f"{said} {measured} run {ids[0]}.", TONES.get(row.status, ""))
    runs = "".join(f"<li>{escape(f'{label}: {run_id}')}</li>" for label, run_id in row.arms)
    kind = f" note-{TONES[row.status]}" if row.status in TONES else ""
    return (
        f"<div class='note{kind}' role='status'>{escape(said)}<details><summary>{measured} "
        f"{len(ids)} runs</summary><ul>{runs}</ul></details></div>"
    )


def tables_html(tables: list[Table]) -> str:
    """The tables of a result, as HTML."""
    parts = []
    for table in tables:
        kinds = [" class='words'" if words else "" for words in worded(table)]
        heads = "".join(
            f"<th scope='col'{kind}>{escape(name)}</th>"
            for kind, name in zip(kinds, table.columns, strict=True)
        )
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td{kind}>{escape(cell_text(cell))}</td>"
                for kind, cell in zip(kinds, row, strict=True)
            )
            + "</tr>"
            for row in table.rows
        )
        parts.append(
            f"<table><caption>{escape(table.title)}</caption><thead><tr>{heads}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
    return f"<div class='found'>{''.join(parts)}</div>"


def note(words: str, tone: str = "") -> str:
    """A sentence in a frame, as HTML."""
    kind = f" note-{tone}" if tone else ""
    return f'<p class="note{kind}" role="status">{escape(words)}</p>'


def _seed(row: ExperimentRow) -> str:
    try:
        return f", seed {row.config.seed}"
    except LabError:  # its settings are damaged
        return ""


def _run_name(lab: Lab, run_id: str) -> str:
    run = lab.registry.run(run_id)
    return run.name or f"Run {run.number} ({run.pack_name})"


def _wire(lab: Lab, tab: ExperimentsTab) -> None:
    tab.choice.change(
        bound(choose, lab), tab.choice, [tab.about, tab.reading, tab.made, *tab.shown],
        trigger_mode="always_last", **ONE_BY_ONE,
    )  # fmt: skip
    # A page that is opened anew shows what is at work, or the newest result.
    tab.chooser.known.change(
        bound(renew, lab), [tab.choice, tab.seen], [tab.made, *tab.shown],
        trigger_mode="always_last", **ONE_BY_ONE,
    )  # fmt: skip
    gr.on(
        [tab.chooser.run.change, tab.choice.change, tab.figure.change],
        bound(cost_html, lab), [tab.choice, tab.chooser.run], tab.cost,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    tab.made.input(bound(show, lab), tab.made, tab.shown, **ONE_BY_ONE)
    tab.start.click(
        bound(press, lab), [tab.choice, tab.chooser.run], [tab.made, *tab.shown], **ONE_BY_ONE
    )
    tab.stop.click(bound(halt, lab), tab.seen, tab.shown, **ONE_BY_ONE)
    fill_on_news(tab.clock, PACE, bound(tick, lab), [tab.choice, tab.seen], [tab.made, *tab.shown])
