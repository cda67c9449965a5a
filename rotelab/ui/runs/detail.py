"""The chosen run in detail: result, curves, every answer, settings, files and log, as sub-tabs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import gradio as gr

from rotelab.config.names import MEASURES, RESUMABLE
from rotelab.config.reproduce import command_of, teach_command_of
from rotelab.errors import LabError, UnknownRun
from rotelab.evaluation.results import PROBES
from rotelab.registry import RunRow
from rotelab.reports.figures.training import DRAWN, curves_of_run, rounds_of_each, score_bars
from rotelab.reports.intervals import intervals_of_run
from rotelab.runs.export.value_checks import ENDED
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.results import lesson_result
from rotelab.ui.components import QUIET, bound, runs_ahead, size_words
from rotelab.ui.figure_tools import build_plot
from rotelab.ui.i18n import N_, _
from rotelab.ui.runs.answers_panel import (
    AnswersPanel,
    build_answers_panel,
    wire_answers_panel,
)
from rotelab.ui.runs.compare_panel import ComparePanel, build_compare_panel, wire_compare_panel
from rotelab.ui.runs.detail_html import CSS, head_html, log_tail, settings_html
from rotelab.ui.runs.files_panel import build_files, merge_model, model_parts, no_model_parts
from rotelab.ui.runs.real_facts_panel import (
    RealFactsPanel,
    build_real_facts_panel,
    wire_real_facts_panel,
)
from rotelab.ui.runs.scores_html import damage_html, lesson_html, scores_html
from rotelab.ui.runs.sweep_panel import SweepPanel, build_sweep_panel, wire_sweep_panel

NOTHING = N_("Choose a run above to see everything that is known about it.")


@dataclass(frozen=True)
class RunDetail:
    """The detail's components; `filled` is the order in which `fill_detail` gives their values."""

    FILLED: ClassVar[tuple[str, ...]] = (
        "head", "stop", "resume", "sooner", "later", "sweep_out", "sweep_back", "again", "clone",
        "archive", "delete", "scores", "bars", "curves", "settings", "command", "python",
        "notebook", "notebook_file", "name", "note", "tags", "places",
        "zip", "download", "bundle", "with_adapters", "bundle_file",
        "model_of", "model_words", "model", "model_file", "log",
    )  # fmt: skip

    head: gr.HTML
    stop: gr.Button
    resume: gr.Button
    sooner: gr.Button
    later: gr.Button
    sweep_out: gr.Button
    sweep_back: gr.Button
    again: gr.Button
    clone: gr.Button
    archive: gr.Button
    delete: gr.Button
    confirm: gr.Group
    question: gr.Markdown
    sure: gr.Button
    keep: gr.Button
    scores: gr.HTML
    measure: gr.Radio
    bars: gr.Plot
    curves: gr.Plot
    answers: AnswersPanel
    settings: gr.HTML
    command: gr.Code
    python: gr.Code
    notebook: gr.Button
    notebook_file: gr.DownloadButton
    name: gr.Textbox
    note: gr.Textbox
    tags: gr.Textbox
    save: gr.Button
    places: gr.Textbox
    zip: gr.Button
    download: gr.DownloadButton
    bundle: gr.Button
    with_adapters: gr.Checkbox
    bundle_file: gr.DownloadButton
    model_of: gr.Dropdown
    model_words: gr.HTML
    model: gr.Button
    model_file: gr.DownloadButton
    log: gr.Textbox
    log_again: gr.Button
    real_facts: RealFactsPanel
    sweep: SweepPanel
    compare: ComparePanel
    tabs: gr.Tabs

    @property
    def filled(self) -> list[Any]:
        """The outputs of `fill_detail`."""
        return [getattr(self, name) for name in self.FILLED]


def build_run_detail(lab: Lab) -> RunDetail:
    """Lays out the detail."""
    made: dict[str, Any] = {}
    made["head"] = gr.HTML(_nothing(), css_template=CSS, elem_id="run-head")
    with gr.Row():
        for name, words, variant in (
            ("resume", _("Resume"), "primary"),
            ("stop", _("Stop this run"), "stop"),
            ("sooner", _("Sooner"), "secondary"),
            ("later", _("Later"), "secondary"),
            ("sweep_out", _("Take the whole sweep out of the queue"), "secondary"),
            ("sweep_back", _("Put the whole sweep back in the queue"), "secondary"),
            ("again", _("Run again"), "secondary"),
            ("clone", _("Open in the form"), "secondary"),
            ("archive", _("Archive"), "secondary"),
            ("delete", _("Delete…"), "secondary"),
        ):
            made[name] = gr.Button(
                words, variant=variant, visible=False, size="sm", scale=0,
                min_width=290 if name.startswith("sweep") else 150, elem_id=f"run-{name}",
            )  # fmt: skip
    with gr.Group(visible=False, elem_id="run-confirm") as made["confirm"]:
        made["question"] = gr.Markdown(padding=True)
        with gr.Row():
            made["sure"] = gr.Button(
                _("Yes, delete it for good"), variant="stop", elem_id="run-sure"
            )
            made["keep"] = gr.Button(_("No, keep it"))
    with gr.Tabs(elem_id="run-tabs") as made["tabs"]:
        with gr.Tab(_("Result")):
            _build_result(made)
        with gr.Tab(_("Curves")):
            made["curves"] = build_plot("run-curves", _("Learning curves"))
        with gr.Tab(_("Every answer")):
            made["answers"] = build_answers_panel()
        with gr.Tab(_("Real facts")):
            made["real_facts"] = build_real_facts_panel()
        with gr.Tab(_("Settings and time")):
            made["command"] = gr.Code(
                label=_("The same run from the command line"), language="shell", interactive=False,
                lines=1, max_lines=4, wrap_lines=True, visible=False, elem_id="run-command",
            )  # fmt: skip
            made |= _build_python()
            made["settings"] = gr.HTML(css_template=CSS, elem_id="run-settings")
        with gr.Tab(_("Name, files and log")):
            made |= build_files()
        with gr.Tab(_("Sweep")):
            made["sweep"] = build_sweep_panel()
        made["compare"] = build_compare_panel(lab)
    return RunDetail(**made)


def fill_detail(lab: Lab, run_id: str | None) -> list[Any]:
    """Everything that is known of a run, in the order of `RunDetail.filled`.

    Raises:
        LabError: the registry can't be read.
    """
    try:
        run = lab.registry.run(run_id or "")
    except UnknownRun:
        hidden = gr.Button(visible=False)
        return [
            _nothing(), *[hidden] * 10, "", gr.Plot(visible=False), None, "",
            gr.Code(visible=False), gr.Code(visible=False), hidden,
            gr.DownloadButton(visible=False), "", "", "", "", hidden,
            gr.DownloadButton(visible=False), hidden, gr.Checkbox(visible=False),
            gr.DownloadButton(visible=False), *no_model_parts(), "",
        ]  # fmt: skip
    scores = lab.registry.scores(run.id)
    intervals = intervals_of_run(lab.registry.fact_sums(run.id)) if scores else {}
    places = lab.adapter_folders(run.id)
    lesson = lesson_result(lab.registry, run.id) if run.is_lesson else None
    # A lesson is asked about the old facts first, which neither the bars nor the table are about.
    drawn = scores if any(probe in PROBES for found in scores.values() for probe in found) else {}
    return [
        head_html(run, scores, runs_ahead(lab, run), lesson, intervals),
        *_buttons(lab, run),
        ((lesson and lesson_html(lesson, intervals)) or scores_html(drawn, intervals))
        + damage_html(lab.registry.damage(run.id)),
        gr.Plot(score_bars(drawn, name=run.id) if drawn else None, visible=bool(drawn)),
        curves_of_run(lab.registry.metrics(run.id, DRAWN), run.id, rounds_of_each(run)),
        settings_html(run),
        _command(run),
        *_python(lab, run),
        run.name,
        run.note,
        ", ".join(run.tags),
        "\n".join(map(str, places)) or _("No adapters yet: they are saved at the end of phase 1."),
        gr.Button(visible=bool(places)),
        gr.DownloadButton(visible=False),
        gr.Button(visible=run.status in ENDED),
        gr.Checkbox(bool(places), visible=bool(places) and run.status in ENDED),
        gr.DownloadButton(visible=False),
        *model_parts(lab, run),
        log_tail(lab, run.id),
    ]


def draw_bars(lab: Lab, run_id: str | None, measure: str) -> Any:
    """The bars of one of the two measures.

    Raises:
        LabError: the registry can't be read.
    """
    scores = lab.registry.scores(run_id) if run_id else {}
    return score_bars(scores, measure, run_id or "") if scores else None


def make_zip(lab: Lab, run_id: str | None) -> Any:
    """Packs the adapters into a zip and offers it for download.

    Raises:
        LabError: there are none yet, or the disk is full.
    """
    path = lab.zip_adapters(run_id or "")
    words = _("Download adapters.zip ({size})").format(size=size_words(path.stat().st_size))
    return gr.DownloadButton(words, value=str(path), visible=True)


def make_notebook(lab: Lab, run_id: str | None) -> Any:
    """Writes a notebook about the run and offers it for download.

    Raises:
        LabError: its settings are damaged, or the disk is full.
    """
    path = lab.export_notebook(run_id or "")
    return gr.DownloadButton(_("Download the notebook"), value=str(path), visible=True)


def bundle(lab: Lab, run_id: str | None, adapters: bool) -> Any:
    """Writes the whole run into one file and offers it for download.

    Raises:
        LabError: it has not ended, is damaged, or the disk is full.
    """
    path = lab.export_bundle(run_id or "", bool(adapters))
    words = _("Download the run ({size})").format(size=size_words(path.stat().st_size))
    return gr.DownloadButton(words, value=str(path), visible=True)


def read_log(lab: Lab, run_id: str | None) -> str:
    """The end of the run's log."""
    return log_tail(lab, run_id) if run_id else ""


def wire_run_detail(lab: Lab, run: gr.State, view: RunDetail) -> None:
    """Connects the detail's panels and downloads; `run` holds the chosen run's id."""
    view.measure.input(bound(draw_bars, lab), [run, view.measure], view.bars, **QUIET)
    view.zip.click(bound(make_zip, lab), run, view.download, api_visibility="private")
    view.notebook.click(
        bound(make_notebook, lab), run, view.notebook_file, api_visibility="private"
    )
    wanted = [run, view.with_adapters]
    view.bundle.click(bound(bundle, lab), wanted, view.bundle_file, api_visibility="private")
    view.with_adapters.input(  # the file written before is not what is asked for now
        lambda: gr.DownloadButton(visible=False), None, view.bundle_file, **QUIET
    )
    view.model.click(
        bound(merge_model, lab), [run, view.model_of], view.model_file, concurrency_id="model",
        trigger_mode="once", api_visibility="private",
    )  # fmt: skip
    view.model_of.input(lambda: gr.DownloadButton(visible=False), None, view.model_file, **QUIET)
    view.log_again.click(bound(read_log, lab), run, view.log, **QUIET)
    # The head names the run, so it changes with it.
    wire_answers_panel(lab, run, view.head, view.answers)
    wire_real_facts_panel(lab, run, view.head, view.real_facts)
    wire_sweep_panel(lab, run, view.head, view.sweep)
    wire_compare_panel(lab, run, view.head, view.compare)


def _build_result(made: dict[str, Any]) -> None:
    measures = [(_(name.long), field) for field, name in MEASURES.items()]
    made["measure"] = gr.Radio(
        measures,
        value="generation_accuracy",
        label=_("What the bars show"),
        show_label=False,
        container=False,
        elem_id="run-measure",
    )
    made["bars"] = build_plot("run-bars", _("Scores"))
    made["scores"] = gr.HTML(css_template=CSS, elem_id="run-scores")


def _nothing() -> str:
    return f"<p class='sub'>{_(NOTHING)}</p>"


def _command(run: RunRow) -> Any:
    try:
        lesson = run.config.lesson
        if lesson is not None:
            command = teach_command_of(lesson, run.parent_id or "RUN")
        else:
            command = command_of(run.config)
        return gr.Code(command, visible=True)
    except LabError:  # the stored settings are damaged; the head says so
        return gr.Code(visible=False)


def _build_python() -> dict[str, Any]:
    """The run as Python code, and as a notebook."""
    made: dict[str, Any] = {}
    made["python"] = gr.Code(
        label=_("The same run in Python"), language="python", interactive=False, lines=1,
        max_lines=12, wrap_lines=True, visible=False, elem_id="run-python",
    )  # fmt: skip
    with gr.Row():
        made["notebook"] = gr.Button(
            _("Export as a notebook"), visible=False, size="md", scale=0, min_width=240,
            elem_id="run-notebook",
        )  # fmt: skip
        made["notebook_file"] = gr.DownloadButton(
            _("Download the notebook"), visible=False, variant="primary", size="md", scale=0,
            min_width=300, elem_id="run-notebook-file",
        )  # fmt: skip
    return made


def _python(lab: Lab, run: RunRow) -> list[Any]:
    """The run's Python code and the buttons beside it; hidden where its settings are damaged."""
    gone = gr.DownloadButton(visible=False)
    try:
        return [gr.Code(lab.python_of(run.id), visible=True), gr.Button(visible=True), gone]
    except LabError:  # the head says so
        return [gr.Code(visible=False), gr.Button(visible=False), gone]


def _buttons(lab: Lab, run: RunRow) -> list[Any]:
    """The buttons from `stop` to `delete`, in order; those that make no sense now are hidden."""
    at_work = run.live or run.status == "queued"
    try:
        repeatable = bool(run.config)
    except LabError:
        repeatable = False
    return [
        gr.Button(
            _("Take out of the queue") if run.status == "queued" else _("Stop this run"),
            visible=at_work and run.status != "stopping",
        ),
        gr.Button(visible=run.status in RESUMABLE and repeatable and not run.imported),
        *[gr.Button(visible=run.status == "queued" and not run.held)] * 2,
        *_sweep_buttons(lab, run),
        gr.Button(visible=repeatable),
        gr.Button(visible=repeatable and not run.is_lesson),
        gr.Button(
            _("Take out of the archive") if run.archived else _("Archive"), visible=not at_work
        ),
        gr.Button(visible=not at_work),
    ]


def _sweep_buttons(lab: Lab, run: RunRow) -> list[Any]:
    """For all runs of its sweep at once: out of the queue, and back into it. Each is there where a
    run's own button is, and does more than that."""
    waiting, left = lab.registry.sweep_queue(run.sweep_id) if run.sweep_id else (0, [])
    return [
        gr.Button(visible=waiting > 1),
        gr.Button(visible=run.id in left and len(left) > 1),
    ]
