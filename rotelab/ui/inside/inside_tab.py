"""The Representations tab: what changes inside the model, layer by layer and checkpoint by
checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.config.options import label_of
from rotelab.errors import LabError
from rotelab.evaluation.pca import kept_layers, project
from rotelab.evaluation.results import Similarity
from rotelab.registry import RunRow
from rotelab.reports.figures.export import of_run
from rotelab.reports.figures.pca import pca_moving, pca_panels
from rotelab.reports.figures.representations import (
    deep_layer,
    delta_curves,
    series_of,
    similarity_curves,
    similarity_heatmap,
)
from rotelab.runs import internals
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound, checkpoint_badge, escape, status_word
from rotelab.ui.figure_tools import build_how, build_saving, player
from rotelab.ui.i18n import N_, _
from rotelab.ui.inside import html as words
from rotelab.ui.inside.layers_panel import LayersPanel, build_layers_panel, fill_layers, no_layers
from rotelab.ui.run_picker import RunChooser, build_run_chooser, offered

LINES, MAPS = N_("Lines"), N_("Colour map")
MOVING, SIDE_BY_SIDE = N_("One map that moves"), N_("Side by side")


@dataclass(frozen=True)
class RepresentationsTab:
    """What others need of this tab.

    Args:
        chooser: of the run.
        note: what is missing, or what the run shows in words.
        figures: holds all figures; hidden while there is nothing to show.
        kind: lines or maps.
        similarity: the first figure.
        delta: the second.
        layers: logit lens and changes of weights.
        layer: the layer of the map of points.
        form: whether that map moves.
        player: plays it.
        pca: the map itself.
        pca_note: why it is missing.
    """

    chooser: RunChooser
    note: gr.HTML
    figures: gr.Column
    kind: gr.Radio
    similarity: gr.Plot
    delta: gr.Plot
    layers: LayersPanel
    layer: gr.Slider
    form: gr.Radio
    player: gr.HTML
    pca: gr.Plot
    pca_note: gr.HTML

    @property
    def refresh_inputs(self) -> list[Any]:
        """What `refresh` is told."""
        return self.chooser.inputs

    @property
    def refresh_outputs(self) -> list[Any]:
        """What `refresh` fills."""
        return self.chooser.outputs

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [
            self.note, self.figures, self.similarity, self.delta, self.layer,
        ]  # fmt: skip

    @property
    def map_outputs(self) -> list[Any]:
        """What `show_map` and `show_pca` fill."""
        return [self.pca, self.pca_note, self.player]


def build_representations_tab(lab: Lab) -> RepresentationsTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: whose runs are shown.
    """
    with gr.Row(equal_height=True):
        gr.Markdown(_(words.INTRO))
        chooser = build_run_chooser(lab, "representations-run")
    remark = gr.HTML(_note(_(words.NO_RUN)), elem_id="representations-note", padding=False)
    with gr.Column(visible=False, elem_classes="look") as figures:
        gr.HTML(_contents(), padding=False)
        with gr.Row(equal_height=True):
            gr.Markdown(_(words.SIMILARITY), elem_id="look-similarity")
            kind = gr.Radio(
                [(_(name), name) for name in (LINES, MAPS)],
                value=LINES,
                label=_("Shown as"),
                scale=0,
                min_width=260,
                elem_id="representations-kind",
            )
        similarity = gr.Plot(show_label=False, elem_id="plot-similarity")
        build_saving("plot-similarity")
        build_how(_(words.SIMILARITY_HOW))
        gr.Markdown(_(words.DELTA), elem_id="look-delta")
        delta = gr.Plot(show_label=False, elem_id="plot-delta")
        build_saving("plot-delta")
        build_how(_(words.DELTA_HOW))
        layers = build_layers_panel()
        with gr.Row(equal_height=True):
            gr.Markdown(_(words.PCA), elem_id="look-pca")
            layer = gr.Slider(
                0, 1, 1, step=1, label=_("Layer"), scale=0, min_width=320, elem_id="pca-layer",
                info=_("0 is the input; deeper layers hold more meaning."),
            )  # fmt: skip
        with gr.Row(equal_height=True):
            play = gr.HTML(padding=False, elem_id="pca-player")
            form = gr.Radio(
                [(_(name), name) for name in (MOVING, SIDE_BY_SIDE)],
                value=MOVING,
                label=_("Shown as"),
                scale=0,
                min_width=400,
                elem_id="pca-form",
            )
        pca_note = gr.HTML(padding=False)
        pca = gr.Plot(show_label=False, elem_id="plot-pca")
        build_saving("plot-pca")
        build_how(_(words.PCA_HOW))
    tab = RepresentationsTab(
        chooser, remark, figures, kind, similarity, delta, layers, layer, form, play, pca, pca_note,
    )  # fmt: skip
    _wire(lab, tab)
    return tab


def _heading(text: str) -> str:
    return escape(text.splitlines()[0].lstrip("# "))


def _contents() -> str:
    """The questions that the figures answer, as links down to them, as HTML."""
    parts = {
        "similarity": words.SIMILARITY,
        "delta": words.DELTA,
        "lens": words.LENS,
        "changes": words.CHANGES,
        "pca": words.PCA,
    }
    links = "".join(
        f'<li class="to-{name}"><a href="#look-{name}">{_heading(_(text))}</a></li>'
        for name, text in parts.items()
    )
    return f'<nav class="contents" aria-label="Figures on this page"><ol>{links}</ol></nav>'


def refresh(lab: Lab, run_id: str | None, known: list[list[str]]) -> list[Any]:
    """Reads the list of runs anew; in the order of `RepresentationsTab.refresh_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    return offered(lab, run_id, known)


def show_all(lab: Lab, run_id: str | None, kind: str, form: str) -> list[Any]:
    """The whole tab: `show`, `show_layers` and `show_map`, one after the other.

    In one answer: of several events that wait for one thing, Gradio's page begins each when the one
    before is done.
    """
    return [*show(lab, run_id, kind), *show_layers(lab, run_id), *show_map(lab, run_id, form)]


def show(lab: Lab, run_id: str | None, kind: str) -> list[Any]:
    """The upper part of the tab, in the order of `RepresentationsTab.outputs`."""
    try:
        if not run_id:
            return _nothing(_(words.NO_RUN))
        run = lab.registry.run(run_id)
        rows = lab.registry.similarities(run_id)
        if not rows:
            return _nothing(_why_empty(run))
        layers = _layers(lab, run_id)
    except LabError as error:
        return _nothing(str(error), "bad")
    slider = gr.Slider(maximum=max(1, layers - 1), value=deep_layer(layers), visible=layers > 0)
    return [
        in_numbers(rows) + _asked_for(run), gr.Column(visible=True),
        of_run(similarity_figure(rows, kind), run_id), of_run(delta_curves(rows), run_id), slider,
    ]  # fmt: skip


def show_layers(lab: Lab, run_id: str | None) -> list[Any]:
    """The part about layers one by one, in the order of `LayersPanel.outputs`."""
    try:
        return fill_layers(lab, lab.registry.run(run_id)) if run_id else no_layers()
    except LabError:  # `show` says what is wrong
        return no_layers()


def show_map(lab: Lab, run_id: str | None, form: str) -> list[Any]:
    """The map of points at the layer to look at first, in the order of
    `RepresentationsTab.map_outputs`."""
    try:
        layers = _layers(lab, run_id) if run_id else 0
    except LabError:  # damaged, which reading one layer says too
        layers = 0
    return show_pca(lab, run_id, deep_layer(layers), form)


def look_now(lab: Lab, run_id: str | None) -> None:
    """Computes what an older run lacks.

    Raises:
        LabError: it can't be computed; says why.
    """
    if run_id:
        lab.chat.release()  # two models may not fit
        internals.complete(lab.registry, lab.storage, run_id)


def show_similarity(lab: Lab, run_id: str | None, kind: str) -> Any:
    """The first figure alone, as lines or as colour maps.

    Raises:
        LabError: the registry can't be read.
    """
    if not run_id:
        return None
    return of_run(similarity_figure(lab.registry.similarities(run_id), kind), run_id)


def similarity_figure(rows: Sequence[Similarity], kind: str) -> Any:
    """The first figure in the chosen form."""
    return similarity_heatmap(rows) if kind == MAPS else similarity_curves(rows)


def show_pca(lab: Lab, run_id: str | None, layer: float, form: str = MOVING) -> list[Any]:
    """The map of points at a layer, a sentence where there is none, and what plays it."""
    hidden = [gr.Plot(value=None, visible=False)]
    try:
        projection = project(lab.storage, run_id, int(layer)) if run_id else None
    except LabError as error:
        return [*hidden, _note(str(error), "bad"), ""]
    if projection is None:
        missing = _("This run kept no hidden states, so there is no map. A new run keeps them.")
        return [*hidden, _note(missing), ""]
    draw = pca_moving if form == MOVING else pca_panels
    stops = [_(checkpoint_name(c).long) for c in CHECKPOINTS if c in projection.points]
    plays = player("plot-pca", stops) if form == MOVING else ""
    return [gr.Plot(value=of_run(draw(projection), run_id), visible=True), "", plays]


def in_numbers(rows: Sequence[Similarity]) -> str:
    """The key token's likeness to each kind of wording, mean of the upper layers, as HTML."""
    series = series_of(rows)
    top = max((row.layer for row in rows), default=0)
    upper = range(top - top // 4, top + 1)
    there = [c for c in CHECKPOINTS if any(row.checkpoint == c for row in rows)]
    lines = []
    for name, label in words.READOUT.items():
        by_layer = [series.get(name, {}).get(c, {}) for c in there]
        if any(by_layer):
            cells = "".join(f"<td>{_mean(values, upper)}</td>" for values in by_layer)
            lines.append(f"<tr><th scope='row'>{_(label)}</th>{cells}</tr>")
    if not lines:
        return ""
    heads = "".join(f"<th scope='col'>{checkpoint_badge(c)}</th>" for c in there)
    mean = _("(cosine similarity, mean of layers {first} to {last})").format(
        first=upper[0], last=top
    )
    return (
        f"<div class='readout'><table><caption>"
        f"{_('In short: how alike are the key-token prompt and …')} "
        f"<span class='hint'>{mean}</span>"
        f"</caption><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _asked_for(run: RunRow) -> str:
    """Says so where training itself drew the compared states together."""
    try:
        weight = run.config.generalize.align if run.config.stages == "two" else 0.0
    except LabError:  # its settings are damaged
        return ""
    if not weight:
        return ""
    return _note(
        f"Phase 2 of this run was asked to make taught facts' wordings like the key token (“"
        f"{label_of('generalize.align')}” is {weight:g}), so their likeness is no finding by "
        "itself. What is one: that it reaches facts and wordings that phase 2 never saw. With 0 "
        "the two grow alike by themselves, though less."
    )


def _mean(values: dict[int, float], layers: Sequence[int]) -> str:
    there = [values[layer] for layer in layers if layer in values]
    return f"{sum(there) / len(there):.2f}" if there else "–"


def _why_empty(run: RunRow) -> str:
    if run.status in ("queued", "running", "stopping"):
        return _(
            "Nothing has been measured in this run yet. The first figures come with its first "
            "evaluation; open this tab again then."
        )
    return _(
        "This run ({status}) ended before its inside was measured. Choose another run, or resume "
        "it on the Runs tab."
    ).format(status=status_word(run.status))


def _layers(lab: Lab, run_id: str) -> int:
    """How many layers of hidden states a run kept; 0 where it kept none.

    Raises:
        LabError: a file is damaged.
    """
    kept = (lab.storage.run_folder(run_id) / "representations").is_dir()
    return kept_layers(lab.storage, run_id) if kept else 0


def _nothing(why: str, tone: str = "") -> list[Any]:
    return [_note(why, tone), gr.Column(visible=False), None, None, gr.skip()]


def _note(text: str, tone: str = "") -> str:
    kind = f" note-{tone}" if tone else ""
    return f'<p class="note{kind}" role="status">{escape(text)}</p>' if text else ""


def _wire(lab: Lab, tab: RepresentationsTab) -> None:
    run = tab.chooser.run
    # What `look_now` found comes as anything else does that a run has newly measured.
    looked = tab.layers.look.click(
        bound(look_now, lab), [run], None, concurrency_id="model",
        show_progress="minimal", show_progress_on=[tab.note], api_visibility="private",
    )  # fmt: skip
    whole = {
        "fn": bound(show_all, lab),
        "inputs": [run, tab.kind, tab.form],
        "outputs": [*tab.outputs, *tab.layers.outputs, *tab.map_outputs],
        "trigger_mode": "always_last",
        **QUIET,
    }
    gr.on([run.change, tab.chooser.moved.change], **whole)
    looked.success(**whole)
    tab.kind.input(bound(show_similarity, lab), [run, tab.kind], [tab.similarity], **QUIET)
    gr.on(
        [tab.layer.input, tab.form.input], bound(show_pca, lab), [run, tab.layer, tab.form],
        tab.map_outputs, trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    rewind = "() => window.rotelabPlots.rewind('plot-pca')"
    tab.pca.change(None, None, None, js=rewind, **QUIET)
