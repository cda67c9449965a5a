"""The part of “Look inside” that shows how one answer came up while the model trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.evaluation.results import SpotAnswer
from rotelab.registry import RunRow
from rotelab.reports.figures.export import of_run
from rotelab.reports.figures.watched.moment import moment_map, moment_of, moment_stops
from rotelab.runs.lab import Lab
from rotelab.ui.components import escape
from rotelab.ui.figure_tools import build_how, build_plot, player
from rotelab.ui.i18n import N_, _

PLOT = "plot-moment"

TITLE = N_(
    "### The moment of understanding\n"
    "**What to look for:** one question in words never trained on, asked again and again while the "
    "model learned. In phase 1 the map stays dark, although the fact is known by heart; soon after "
    "the dashed line the answer lights up in the last layers. Move the slider over it."
)
HOW = N_(
    "Logit lens, as above, for a single question: how probable each layer finds the first word "
    "piece of the right answer, at the last word piece of the question. It is asked before "
    "training, and then as often as fits into the share of training time for live questions. "
    "Columns are times of asking, not equal numbers of steps. It is one question, chosen before "
    "training: another one may come earlier or later, or never."
)


@dataclass(frozen=True)
class MomentPanel:
    """The panel's components.

    Args:
        part: holds the others; hidden where the run was not asked while it trained.
        about: the question, and when the answer came.
        player: the slider.
        plot: the figure.
    """

    part: gr.Column
    about: gr.HTML
    player: gr.HTML
    plot: gr.Plot

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `fill_moment`."""
        return [self.part, self.about, self.player, self.plot]


def build_moment_panel() -> MomentPanel:
    """Lays out the panel inside the current container."""
    with gr.Column(visible=False) as part:
        gr.Markdown(_(TITLE), elem_id="look-moment")
        about = gr.HTML(padding=False, elem_id="moment-about")
        play = gr.HTML(padding=False, elem_id="moment-player")
        plot = build_plot(PLOT, _("The moment of understanding"))
        build_how(_(HOW))
    plot.change(
        None, None, None, js=f"() => window.rotelabPlots.rewind('{PLOT}')", show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip
    return MomentPanel(part, about, play, plot)


def fill_moment(lab: Lab, run_id: str | None) -> list[Any]:
    """A run's moment, in the order of `MomentPanel.outputs`; hidden where there is none."""
    hidden = [gr.Column(visible=False), "", "", None]
    if not run_id:
        return hidden
    try:
        run = lab.registry.run(run_id)
        rows = lab.registry.layer_chances(run_id)
        answers = lab.registry.spot_answers(run_id)
    except LabError:  # the top of the tab says what is wrong
        return hidden
    figure = moment_map(rows, _)
    if figure is None:
        return hidden
    stops = moment_stops(rows, _)
    slider = player(PLOT, stops, _("Time of asking"), (stops[0], stops[-1]))
    asked = [answer for answer in answers if answer.way == "test"]
    about = about_html(run, asked[-1] if asked else None, moment_of(rows))
    return [gr.Column(visible=True), about, slider, of_run(figure, run_id)]


def about_html(run: RunRow, asked: SpotAnswer | None, moment) -> str:
    """The question, its answer, and when the model came to it.

    Args:
        run: the run.
        asked: the newest answer to the question; None where it is not known.
        moment: from `moment_of`.
    """
    words = ""
    if asked is not None:
        words = _("Asked: “{question}” The right answer is <b>{answer}</b>.").format(
            question=escape(asked.question), answer=escape(asked.expected)
        )
        if _held_out(run, asked):
            words += " " + _("No sentence of phase 2 is about it.")
    if moment is None:
        came = _("At the end the right answer was still not its first choice.")
    else:
        came = {
            "memorize": _("From step {step} of phase 1 on, <b>it answers right</b>."),
            "generalize": _("From step {step} of phase 2 on, <b>it answers right</b>."),
        }[moment.phase].format(step=moment.step)
        came += " " + _("Then the answer came first from layer {layer} on.").format(
            layer=moment.layer
        )
    return f"<p class='note'>{words} {came}</p>"


def _held_out(run: RunRow, asked: SpotAnswer) -> bool:
    try:
        fact = run.pack.facts[asked.fact_index]
        return fact in run.config.split(run.pack.facts).held_out
    except (LabError, IndexError):  # the row is damaged
        return False
