"""The part of “Look inside” that puts the state behind the key token into a question, for one
fact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.errors import LabError, UnknownRun
from rotelab.facts.facts import Fact
from rotelab.registry import RunRow
from rotelab.reports.figures.export import of_run
from rotelab.reports.figures.patching import patching_heatmap
from rotelab.runs.asking.patched import PatchedFact, patch_fact
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound, note
from rotelab.ui.figure_tools import build_how, build_plot
from rotelab.ui.i18n import N_, _
from rotelab.ui.inside import texts
from rotelab.ui.wording import percent

WAYS = {
    "into words": N_("Key token’s state into the question"),
    "into key": N_("Question’s state into the key token’s prompt"),
}
MOST_FACTS = 200


@dataclass(frozen=True)
class PatchingPanel:
    """The panel's components.

    Args:
        fact: the fact; its value is its index.
        wording: how it is asked in words; its value is the wording with the subject in it.
        checkpoint: which model both prompts go through.
        way: which state goes into which prompt.
        go: computes it.
        said: the finding in words.
        figure: the heatmap layer × token.
    """

    fact: gr.Dropdown
    wording: gr.Dropdown
    checkpoint: gr.Radio
    way: gr.Radio
    go: gr.Button
    said: gr.HTML
    figure: gr.Plot

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `offer_facts`."""
        return [self.fact, self.wording, self.said, self.figure]


def build_patching_panel() -> PatchingPanel:
    """Lays out the panel inside the current container."""
    gr.Markdown(_(texts.PATCHING), elem_id="look-patching")
    with gr.Row(equal_height=True):
        fact = gr.Dropdown([], label=_("Fact"), elem_id="patching-fact", scale=2)
        wording = gr.Dropdown([], label=_("Question"), elem_id="patching-wording", scale=3)
    with gr.Row(equal_height=True):
        checkpoint = gr.Radio(
            [(_(checkpoint_name(c).long), c) for c in CHECKPOINTS], value="memorized",
            label=_("Model"), elem_id="patching-checkpoint", scale=2,
        )  # fmt: skip
        way = gr.Radio(
            [(_(words), name) for name, words in WAYS.items()], value="into words",
            label=_("What goes where"), elem_id="patching-way", scale=3,
        )  # fmt: skip
        go = gr.Button(
            _("Put it in"), variant="primary", scale=1, min_width=140, elem_id="patching-go"
        )
    said = gr.HTML(padding=False, elem_id="patching-said")
    figure = build_plot("plot-patching", _("Where the fact sits"), visible=False)
    build_how(_(texts.PATCHING_HOW))
    return PatchingPanel(fact, wording, checkpoint, way, go, said, figure)


def wire_patching_panel(lab: Lab, panel: PatchingPanel, run: gr.Dropdown, *changed: Any) -> None:
    """Connects the panel.

    Args:
        lab: has the runs and their models.
        panel: the panel.
        run: the chosen run.
        changed: events after which the run may have other facts.
    """
    gr.on(
        [run.change, *changed], bound(offer_facts, lab), run, panel.outputs,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    panel.fact.input(bound(offer_wordings, lab), [run, panel.fact, panel.wording], panel.wording,
        **QUIET,
    )  # fmt: skip
    panel.go.click(
        bound(patch, lab), [run, panel.fact, panel.wording, panel.checkpoint, panel.way],
        [panel.said, panel.figure], concurrency_id="model", show_progress="minimal",
        show_progress_on=[panel.said], api_visibility="private",
    )  # fmt: skip


# Handlers ----------------------------------------------------------------------------------------


def offer_facts(lab: Lab, run_id: str | None) -> list[Any]:
    """The facts of a run to choose from, held-out ones first; in the order of
    `PatchingPanel.outputs`."""
    empty = ["", gr.Plot(value=None, visible=False)]
    try:
        run = lab.registry.run(run_id) if run_id else None
        facts = _facts(run) if run else []
    except LabError:  # `inside_tab.show` says what is wrong
        facts = []
    if not facts:
        return [gr.Dropdown(choices=[], value=None), gr.Dropdown(choices=[], value=None), *empty]
    choices = [(f"{fact.subject} → {fact.object}", index) for index, fact in facts]
    return [
        gr.Dropdown(choices=choices, value=choices[0][1]), _wordings(run, facts[0][1]), *empty,
    ]  # fmt: skip


def offer_wordings(lab: Lab, run_id: str | None, fact: int | None, shown: str | None) -> Any:
    """The questions in words about a fact, those never trained on first.

    Args:
        lab: has the run.
        run_id: the run.
        fact: the chosen fact's index. A dropdown sends it when it loses the focus, too.
        shown: the chosen question, which stays where it is about that fact.

    Raises:
        LabError: the run is damaged.
    """
    if not run_id or fact is None:
        return gr.skip()
    try:
        run = lab.registry.run(run_id)
    except UnknownRun:  # deleted in the meantime
        return gr.skip()
    offered = _wordings(run, run.pack.facts[int(fact)])
    return gr.skip() if shown in [text for _, text in offered.choices] else offered


def patch(
    lab: Lab, run_id: str | None, fact: int | None, text: str | None, checkpoint: str, way: str
) -> list[Any]:
    """Patches the chosen fact's prompt everywhere, and draws what came out.

    Raises:
        LabError: nothing is chosen, or as `patch_fact`.
    """
    if not run_id or fact is None or not text:
        raise LabError(_("Choose a run, a fact and a question first."))
    run = lab.registry.run(run_id)
    about = run.pack.facts[int(fact)]
    found = patch_fact(lab.chat, run, about, text, checkpoint, way)
    figure = patching_heatmap(
        found.pieces, found.layers, found.probability, found.first, found.token
    )
    return [said_html(found, about, way), gr.Plot(value=of_run(figure, run_id), visible=True)]


def said_html(found: PatchedFact, fact: Fact, way: str) -> str:
    """What the patches did, in sentences."""
    plain, source = found.plain[0], found.source[0]
    layers, places = found.probability.shape
    layer, place = divmod(int(found.probability.argmax()), places)
    best = found.probability[layer, place]
    words = (
        _("By itself the question gives “{token}” (the beginning of {object}) {plain}, the key "
          "token {source}.")
        if way == "into words"
        else _("By itself the key token gives “{token}” (the beginning of {object}) {plain}, the "
               "question {source}.")
    )  # fmt: skip
    early = next((found.layers[i] for i in range(layers) if found.first[i:, -1].all()), None)
    words += " " + _("The largest after a patch is {best}: layer {layer}, at “{piece}”.")
    if early is not None:
        words += " " + _("At the last token it is the first choice from layer {early} on.")
    return note(
        words.format(
            token=found.token, object=fact.object, plain=percent(plain), source=percent(source),
            best=percent(best), layer=found.layers[layer], piece=found.pieces[place], early=early,
        )
    )  # fmt: skip


# Parts -------------------------------------------------------------------------------------------


def _facts(run: RunRow) -> list[tuple[int, Fact]]:
    """The run's facts with their indices: those that phase 2 never taught come first."""
    held_out = set(run.config.split(run.pack.facts).held_out)
    facts = sorted(enumerate(run.pack.facts), key=lambda one: (one[1] not in held_out, one[0]))
    return facts[:MOST_FACTS]


def _wordings(run: RunRow, fact: Fact) -> Any:
    asked = [t for role in ("test", "train") for t in run.pack.prompts.of(fact.relation, role)]
    choices = [t.render(fact.subject) for t in asked]
    return gr.Dropdown(choices=choices, value=choices[0] if choices else None)
