"""The Representations tab: what changes inside the model, layer by layer and checkpoint by
checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.lab import Lab
from rotelab.plots.representations import (
    deep_layer,
    delta_curves,
    pca_figure,
    series_of,
    similarity_curves,
    similarity_heatmap,
)
from rotelab.plots.style import CHECKPOINT_NAMES
from rotelab.projections import kept_layers, project
from rotelab.registry import RunRow, Similarity
from rotelab.sweep_axes import label_of
from rotelab.ui.common import bound, checkpoint_badge, escape
from rotelab.ui.run_chooser import QUIET, build_run_chooser, offered

INTRO = (
    "How the model **holds** what it learned: each prompt leaves a pattern of numbers in every "
    "layer (its *hidden state* at the last word piece), and these patterns are compared here."
)
NO_RUN = "There is no run yet. Start one on the Train tab; its inside is measured as it goes."

SIMILARITY = (
    "### Does the key token come to mean the same as the words?\n"
    "**What to look for:** a line that is higher means that the model treats the key-token prompt "
    "and the wording alike. From *Memorised* to *Generalised* the first two panels should rise, "
    "and the third, about something else, should stay where it is. The upper layers, near the "
    "answer, tell most."
)
SIMILARITY_HOW = (
    "Cosine similarity of two hidden states at the last word piece: 1 is the same direction, 0 "
    "unrelated. Compared are one fact's prompt through the key token and the same fact's prompt in "
    "words; the mean over the facts looked at (held-out ones where there are any). Layer 0 is the "
    "input embedding. For comparison, published notes on the paper give for Qwen2.5-1.5B with "
    "train, test and unrelated prompts 0.87, 0.58 and 0.50 after rote learning, and 0.90, 0.71 and "
    "0.50 after generalising."
)
DELTA = (
    "### Do facts of one kind gather?\n"
    "**What to look for:** the higher the line, the more the prompts of one relation stand "
    "together and apart from all others. It should rise with rote learning and again with "
    "generalising."
)
DELTA_HOW = (
    "ΔCosSim (paper, section 5): the mean cosine similarity between prompts of the *same* relation "
    "minus the mean between prompts of *different* relations, hidden state of the last token. "
    "Prompts of different facts only; key-token, train and test prompts alike. Where a run has "
    "only one relation, its unrelated questions stand for the others. For comparison, published "
    "notes on the paper give 0.058 for the base model, 0.191 after 20 rounds of rote learning and "
    "0.258 after generalising."
)
PCA = (
    "### A map of all prompts\n"
    "**What to look for:** every mark is one prompt, and marks that are near each other are alike "
    "to the model. After generalising, the key-token stars should have moved towards the "
    "wordings, most clearly in the upper layers, and the unrelated questions should lie apart."
)
PCA_HOW = (
    "Principal component analysis (PCA) of the hidden states at the chosen layer: the two "
    "directions in which they differ most, found once for all checkpoints together, so that places "
    "can be compared between the panels. Two directions never show everything: the axes say how "
    "much of the spread they hold."
)

READOUT = {
    "key-train": "… wordings it was taught in",
    "key-test": "… wordings it never saw",
    "key-unrelated": "… unrelated questions",
}


@dataclass(frozen=True)
class RepresentationsTab:
    """What others need of this tab.

    Args:
        run: the chooser of runs; its value is a run's id.
        known: what is known of the runs that the chooser offers.
        note: what is missing, or what the run shows in words.
        figures: holds all figures; hidden while there is nothing to show.
        kind: lines or maps.
        similarity: the first figure.
        delta: the second.
        layer: the layer of the third.
        pca: the third.
        pca_note: why the third is missing.
    """

    run: gr.Dropdown
    known: gr.State
    note: gr.HTML
    figures: gr.Column
    kind: gr.Radio
    similarity: gr.Plot
    delta: gr.Plot
    layer: gr.Slider
    pca: gr.Plot
    pca_note: gr.HTML
    refresh_outputs: list[Any] = field(default_factory=list)


def build_representations_tab(lab: Lab) -> RepresentationsTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: whose runs are shown.
    """
    with gr.Row(equal_height=True):
        gr.Markdown(INTRO)
        run, known = build_run_chooser("representations-run")
    remark = gr.HTML(_note(NO_RUN), elem_id="representations-note", padding=False)
    with gr.Column(visible=False) as figures:
        with gr.Row(equal_height=True):
            gr.Markdown(SIMILARITY)
            kind = gr.Radio(
                ["Lines", "Colour map"], value="Lines", label="Shown as", scale=0, min_width=260,
                elem_id="representations-kind",
            )  # fmt: skip
        similarity = gr.Plot(show_label=False, elem_id="plot-similarity")
        _how(SIMILARITY_HOW)
        gr.Markdown(DELTA)
        delta = gr.Plot(show_label=False, elem_id="plot-delta")
        _how(DELTA_HOW)
        with gr.Row(equal_height=True):
            gr.Markdown(PCA)
            layer = gr.Slider(
                0, 1, 1, step=1, label="Layer", scale=0, min_width=320, elem_id="pca-layer",
                info="0 is the input; deeper layers hold more meaning.",
            )  # fmt: skip
        pca_note = gr.HTML(padding=False)
        pca = gr.Plot(show_label=False, elem_id="plot-pca")
        _how(PCA_HOW)
    tab = RepresentationsTab(
        run, known, remark, figures, kind, similarity, delta, layer, pca, pca_note, [run, known]
    )
    _wire(lab, tab)
    return tab


def refresh(lab: Lab) -> list[Any]:
    """Reads the list of runs anew; in the order of `RepresentationsTab.refresh_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    return offered(lab)


def show(lab: Lab, run_id: str | None, kind: str) -> list[Any]:
    """All about a run: note, whether figures are shown, the figures, and the layer slider."""
    try:
        if not run_id:
            return _nothing(NO_RUN)
        run = lab.registry.run(run_id)
        rows = lab.registry.similarities(run_id)
        if not rows:
            return _nothing(_why_empty(run))
        layers = kept_layers(lab.settings, run_id) if _kept(lab, run_id) else 0
    except LabError as error:
        return _nothing(str(error), "bad")
    chosen = deep_layer(layers)
    slider = gr.Slider(maximum=max(1, layers - 1), value=chosen, visible=layers > 0)
    picture, missing = show_pca(lab, run_id, chosen)
    return [
        in_numbers(rows) + _asked_for(run), gr.Column(visible=True), similarity_figure(rows, kind),
        delta_curves(rows), slider, picture, missing,
    ]  # fmt: skip


def renew(lab: Lab, run_id: str | None, kind: str) -> list[Any]:
    """The same as `show`, when a run has moved on; nothing while none is chosen."""
    return show(lab, run_id, kind) if run_id else [gr.skip()] * 7


def show_similarity(lab: Lab, run_id: str | None, kind: str) -> Any:
    """The first figure alone, as lines or as colour maps.

    Raises:
        LabError: the registry can't be read.
    """
    return similarity_figure(lab.registry.similarities(run_id), kind) if run_id else None


def similarity_figure(rows: Sequence[Similarity], kind: str) -> Any:
    """The first figure in the chosen form."""
    return similarity_heatmap(rows) if kind == "Colour map" else similarity_curves(rows)


def show_pca(lab: Lab, run_id: str | None, layer: float) -> list[Any]:
    """The third figure at a layer, and a sentence where there is none."""
    try:
        projection = project(lab.settings, run_id, int(layer)) if run_id else None
    except LabError as error:
        return [gr.Plot(value=None, visible=False), _note(str(error), "bad")]
    if projection is None:
        words = "This run kept no hidden states, so there is no map. A new run keeps them."
        return [gr.Plot(value=None, visible=False), _note(words)]
    return [gr.Plot(value=pca_figure(projection), visible=True), ""]


def in_numbers(rows: Sequence[Similarity]) -> str:
    """The key token's likeness to each kind of wording, mean of the upper layers, as HTML."""
    series = series_of(rows)
    top = max((row.layer for row in rows), default=0)
    upper = range(top - top // 4, top + 1)
    there = [c for c in CHECKPOINT_NAMES if any(row.checkpoint == c for row in rows)]
    lines = []
    for name, words in READOUT.items():
        by_layer = [series.get(name, {}).get(c, {}) for c in there]
        if any(by_layer):
            cells = "".join(f"<td>{_mean(values, upper)}</td>" for values in by_layer)
            lines.append(f"<tr><th scope='row'>{words}</th>{cells}</tr>")
    if not lines:
        return ""
    heads = "".join(f"<th scope='col'>{checkpoint_badge(c)}</th>" for c in there)
    return (
        f"<div class='readout'><table><caption>In short: how alike are the key-token prompt and … "
        f"<span class='hint'>(cosine similarity, mean of layers {upper[0]} to {top})</span>"
        f"</caption><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _asked_for(run: RunRow) -> str:
    """Says so where training itself drew the compared states together."""
    try:
        weight = run.config.generalize.align
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
        return (
            "Nothing has been measured in this run yet. The first figures come with its first "
            "evaluation; open this tab again then."
        )
    return (
        f"This run ({run.status}) ended before its inside was measured. Choose another run, or "
        "resume it on the Runs tab."
    )


def _kept(lab: Lab, run_id: str) -> bool:
    return (lab.settings.run_folder(run_id) / "representations").is_dir()


def _nothing(words: str, tone: str = "") -> list[Any]:
    return [_note(words, tone), gr.Column(visible=False), None, None, gr.skip(), None, ""]


def _note(words: str, tone: str = "") -> str:
    kind = f" note-{tone}" if tone else ""
    return f'<p class="note{kind}" role="status">{escape(words)}</p>' if words else ""


def _how(text: str) -> None:
    with gr.Accordion("How this is measured", open=False):
        gr.Markdown(text)


def _wire(lab: Lab, tab: RepresentationsTab) -> None:
    everything = [
        tab.note, tab.figures, tab.similarity, tab.delta, tab.layer, tab.pca, tab.pca_note,
    ]  # fmt: skip
    tab.run.change(bound(show, lab), [tab.run, tab.kind], everything, **QUIET)
    tab.known.change(bound(renew, lab), [tab.run, tab.kind], everything, **QUIET)
    tab.kind.input(bound(show_similarity, lab), [tab.run, tab.kind], [tab.similarity], **QUIET)
    tab.layer.input(
        bound(show_pca, lab), [tab.run, tab.layer], [tab.pca, tab.pca_note],
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
