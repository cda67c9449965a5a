"""The “Look inside” tab: how the model's hidden states and weights change, layer by layer and
checkpoint by checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.errors import LabError
from rotelab.evaluation.results import Similarity
from rotelab.reports.figures.export import of_run
from rotelab.reports.figures.pca import pca_moving, pca_panels
from rotelab.reports.figures.representations import (
    deep_layer,
    delta_curves,
    similarity_curves,
    similarity_heatmap,
)
from rotelab.reports.pca import kept_layers, project
from rotelab.runs import internals
from rotelab.runs.lab import Lab
from rotelab.ui.address import linked_run
from rotelab.ui.components import QUIET, bound, note
from rotelab.ui.figure_tools import build_how, build_plot, player
from rotelab.ui.i18n import N_, _
from rotelab.ui.inside import texts
from rotelab.ui.inside.html import (
    alignment_note,
    contents_html,
    empty_reason,
    similarity_summary,
)
from rotelab.ui.inside.layers_panel import LayersPanel, build_layers_panel, fill_layers, no_layers
from rotelab.ui.inside.moment_panel import MomentPanel, build_moment_panel, fill_moment
from rotelab.ui.inside.patching_panel import (
    PatchingPanel,
    build_patching_panel,
    wire_patching_panel,
)
from rotelab.ui.run_picker import RunChooser, build_run_chooser, offered

LINES, COLOURS = N_("Lines"), N_("Colour map")
"""The forms of the similarity figure."""
MOVING, SIDE_BY_SIDE = N_("One map that moves"), N_("Side by side")
"""The forms of the map."""


@dataclass(frozen=True)
class InsideTab:
    """The tab's components, as far as other code needs them.

    Args:
        chooser: of the run.
        note: what is missing, or what the run shows in words.
        figures: holds all figures; hidden while there is nothing to show.
        kind: whether similarity is shown as lines or as a colour map.
        similarity: the similarity of key token and words, layer by layer.
        delta: how facts of one relation gather (ΔCosSim).
        layers: logit lens and weight changes.
        moment: how one answer came up while the model trained.
        patching: the state behind the key token, put into a question.
        layer: the layer of the map.
        form: whether the map moves.
        player: plays it.
        pca: the map of all prompts.
        pca_note: why the map is missing.
    """

    chooser: RunChooser
    note: gr.HTML
    figures: gr.Column
    kind: gr.Radio
    similarity: gr.Plot
    delta: gr.Plot
    layers: LayersPanel
    moment: MomentPanel
    patching: PatchingPanel
    layer: gr.Slider
    form: gr.Radio
    player: gr.HTML
    pca: gr.Plot
    pca_note: gr.HTML

    @property
    def refresh_inputs(self) -> list[Any]:
        """The inputs of `refresh`."""
        return self.chooser.inputs

    @property
    def refresh_outputs(self) -> list[Any]:
        """The outputs of `refresh`."""
        return self.chooser.outputs

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `show`."""
        return [self.note, self.figures, self.similarity, self.delta, self.layer]

    @property
    def map_outputs(self) -> list[Any]:
        """The outputs of `show_map` and `show_pca`."""
        return [self.pca, self.pca_note, self.player, self.form]


def build_inside_tab(lab: Lab) -> InsideTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: whose runs are shown.
    """
    with gr.Row(equal_height=True):
        gr.Markdown(_(texts.INTRO), elem_id="look-intro")
        chooser = build_run_chooser("representations-run")
    remark = gr.HTML(note(_(texts.NO_RUN)), elem_id="representations-note", padding=False)
    with gr.Column(visible=False, elem_classes="look") as figures:
        gr.HTML(contents_html(), padding=False)
        with gr.Row(equal_height=True):
            gr.Markdown(_(texts.SIMILARITY), elem_id="look-similarity")
            kind = gr.Radio(
                [(_(form), form) for form in (LINES, COLOURS)], value=LINES,
                label=_("Shown as"), scale=0, min_width=260, elem_id="representations-kind",
            )  # fmt: skip
        similarity = build_plot("plot-similarity", _("Similarity"))
        build_how(_(texts.SIMILARITY_HOW))
        gr.Markdown(_(texts.DELTA), elem_id="look-delta")
        delta = build_plot("plot-delta", _("Facts of one kind"))
        build_how(_(texts.DELTA_HOW))
        layers = build_layers_panel()
        moment = build_moment_panel()
        patching = build_patching_panel()
        layer, form, play, pca, pca_note = _build_map()
    tab = InsideTab(
        chooser, remark, figures, kind, similarity, delta, layers, moment, patching, layer, form,
        play, pca, pca_note,
    )  # fmt: skip
    _wire(lab, tab)
    return tab


def _build_map() -> tuple[gr.Slider, gr.Radio, gr.HTML, gr.Plot, gr.HTML]:
    """Lays out the map: its layer, its form, what plays it, the figure, and why it is missing."""
    with gr.Row(equal_height=True):
        gr.Markdown(_(texts.PCA), elem_id="look-pca")
        layer = gr.Slider(
            0, 1, 1, step=1, label=_("Layer"), scale=0, min_width=320, elem_id="pca-layer",
            info=_("0 is the input; deeper layers hold more meaning."),
        )  # fmt: skip
    with gr.Row(equal_height=True):
        play = gr.HTML(padding=False, elem_id="pca-player")
        form = gr.Radio(
            [(_(form), form) for form in (MOVING, SIDE_BY_SIDE)], value=MOVING,
            label=_("Shown as"), scale=0, min_width=400, elem_id="pca-form",
        )  # fmt: skip
    pca_note = gr.HTML(padding=False)
    pca = build_plot("plot-pca", _("Map of all prompts"))
    build_how(_(texts.PCA_HOW))
    return layer, form, play, pca, pca_note


# Handlers ----------------------------------------------------------------------------------------


def refresh(
    lab: Lab, run_id: str | None, known: list[list[str]], request: gr.Request | None = None
) -> list[Any]:
    """Reads the list of runs again; in the order of `InsideTab.refresh_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    return offered(lab, run_id, known, linked=linked_run(lab, request, "representations"))


def show_all(lab: Lab, run_id: str | None, kind: str, form: str) -> list[Any]:
    """The whole tab: `show`, `show_layers`, `fill_moment` and `show_map`, one after the other.

    One answer rather than three: of several events that wait for the same thing, Gradio's page
    starts each only when the one before has finished.
    """
    return [
        *show(lab, run_id, kind), *show_layers(lab, run_id), *fill_moment(lab, run_id),
        *show_map(lab, run_id, form),
    ]  # fmt: skip


def show(lab: Lab, run_id: str | None, kind: str) -> list[Any]:
    """The upper part of the tab, in the order of `InsideTab.outputs`."""
    try:
        if not run_id:
            return _nothing(_(texts.NO_RUN))
        run = lab.registry.run(run_id)
        rows = lab.registry.similarities(run_id)
        if not rows:
            return _nothing(empty_reason(run))
        layers = _layers(lab, run_id)
    except LabError as error:
        return _nothing(str(error), "bad")
    slider = gr.Slider(maximum=max(1, layers - 1), value=deep_layer(layers), visible=layers > 0)
    return [
        similarity_summary(rows) + alignment_note(run), gr.Column(visible=True),
        of_run(similarity_figure(rows, kind), run_id), of_run(delta_curves(rows), run_id), slider,
    ]  # fmt: skip


def show_layers(lab: Lab, run_id: str | None) -> list[Any]:
    """The logit lens and weight changes, in the order of `LayersPanel.outputs`."""
    try:
        return fill_layers(lab, lab.registry.run(run_id)) if run_id else no_layers()
    except LabError:  # `show` says what is wrong
        return no_layers()


def show_map(lab: Lab, run_id: str | None, form: str) -> list[Any]:
    """The map at the layer that opens first, in the order of `InsideTab.map_outputs`."""
    try:
        layers = _layers(lab, run_id) if run_id else 0
    except LabError:  # damaged; reading one layer will say so too
        layers = 0
    return show_pca(lab, run_id, deep_layer(layers), form)


def compute_missing(lab: Lab, run_id: str | None) -> None:
    """Computes the figures that an older run lacks.

    Raises:
        LabError: they can't be computed; says why.
    """
    if run_id:
        lab.chat.release()  # there may not be memory for two models
        internals.backfill(lab.registry, lab.storage, run_id)


def show_similarity(lab: Lab, run_id: str | None, kind: str) -> Any:
    """The similarity figure alone, as lines or as colour maps.

    Raises:
        LabError: the registry can't be read.
    """
    if not run_id:
        return None
    return of_run(similarity_figure(lab.registry.similarities(run_id), kind), run_id)


def similarity_figure(rows: Sequence[Similarity], kind: str) -> Any:
    """The similarity figure, in one of its two forms."""
    return similarity_heatmap(rows) if kind == COLOURS else similarity_curves(rows)


def show_pca(lab: Lab, run_id: str | None, layer: float, form: str = MOVING) -> list[Any]:
    """The map at a layer, a sentence where there is none, what plays it, and the choice of form."""
    hidden, no_choice = gr.Plot(value=None, visible=False), gr.Radio(visible=False)
    try:
        projection = project(lab.storage, run_id, int(layer)) if run_id else None
    except LabError as error:
        return [hidden, note(str(error), "bad"), "", no_choice]
    if projection is None:
        missing = _("This run kept no hidden states, so there is no map. A new run keeps them.")
        return [hidden, note(missing), "", no_choice]
    draw = pca_moving if form == MOVING else pca_panels
    stops = [_(checkpoint_name(c).long) for c in CHECKPOINTS if c in projection.points]
    plays = player("plot-pca", stops) if form == MOVING else ""
    shown = gr.Plot(value=of_run(draw(projection), run_id), visible=True)
    return [shown, "", plays, gr.Radio(visible=True)]


# Parts -------------------------------------------------------------------------------------------


def _layers(lab: Lab, run_id: str) -> int:
    """How many layers of hidden states a run kept; 0 where it kept none.

    Raises:
        LabError: a file is damaged.
    """
    kept = (lab.storage.run_folder(run_id) / "representations").is_dir()
    return kept_layers(lab.storage, run_id) if kept else 0


def _nothing(why: str, tone: str = "") -> list[Any]:
    return [note(why, tone), gr.Column(visible=False), None, None, gr.skip()]


def _wire(lab: Lab, tab: InsideTab) -> None:
    run = tab.chooser.run
    computed = tab.layers.compute.click(
        bound(compute_missing, lab), [run], None, concurrency_id="model",
        show_progress="minimal", show_progress_on=[tab.note], api_visibility="private",
    )  # fmt: skip
    everything = {
        "fn": bound(show_all, lab),
        "inputs": [run, tab.kind, tab.form],
        "outputs": [*tab.outputs, *tab.layers.outputs, *tab.moment.outputs, *tab.map_outputs],
        "trigger_mode": "always_last",
        **QUIET,
    }
    gr.on([run.change, tab.chooser.moved.change], **everything)
    computed.success(**everything)
    tab.kind.input(bound(show_similarity, lab), [run, tab.kind], [tab.similarity], **QUIET)
    gr.on(
        [tab.layer.input, tab.form.input], bound(show_pca, lab), [run, tab.layer, tab.form],
        tab.map_outputs, trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    wire_patching_panel(lab, tab.patching, run, tab.chooser.moved.change)
    rewind = "() => window.rotelabPlots.rewind('plot-pca')"
    tab.pca.change(None, None, None, js=rewind, **QUIET)
