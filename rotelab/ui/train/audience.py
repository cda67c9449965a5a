"""Training before an audience: names that change colour as they are learned, and a box to ask.

A question to a run that trains is answered by its own process, between two steps
(`runs.live.checks`); any other run is asked here, as in Chat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.evaluation.answer_match import first_line
from rotelab.registry import LiveQuestion, RunSummary
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound
from rotelab.ui.i18n import _
from rotelab.ui.train.audience_html import asked_html, names_html

MAX_QUESTION = 200
ANSWER_TOKENS = 12
HOLD = "rotelabLive.hold('{}', props);"
"""Lets `assets/live.js` fill a part of the panel."""

# Classes, because a browser evaluates each `:has` of a style sheet at every change of the page.
LARGE = """(on) => {
    const live = document.getElementById("train-live"), body = document.body.classList;
    live.classList.toggle("large", on);
    body.toggle("for-audience", on);
    live.seen ??= new ResizeObserver(() => body.toggle("elsewhere", !live.offsetParent));
    live.seen.observe(live);
    // A browser may refuse it; then the page is as large as its window.
    if (on) document.documentElement.requestFullscreen?.().catch(() => {});
    else if (document.fullscreenElement) document.exitFullscreen();
}"""


@dataclass(frozen=True)
class Audience:
    """The parts of the live panel that only an audience sees.

    Args:
        names: every name in the colour of what is known of it.
        question: takes a question.
        ask: asks it.
        asked: the newest questions with their answers.
    """

    names: gr.HTML
    question: gr.Textbox
    ask: gr.Button
    asked: gr.HTML


def build_switch() -> gr.Checkbox:
    """The switch between the form beside the panel, and the panel alone."""
    large = gr.Checkbox(
        label=_("For an audience"), container=False, min_width=160, elem_id="live-large"
    )
    large.change(None, large, None, js=LARGE)
    return large


def build_audience() -> Audience:
    """Lays out the parts inside the current column; `assets/audience.css` puts them in place."""
    names = gr.HTML(elem_id="live-names", js_on_load=HOLD.format("names"))
    with gr.Column(elem_id="live-ask"):
        with gr.Row(equal_height=True):
            question = gr.Textbox(
                show_label=False, label=_("A question to the model"), lines=1, max_lines=1,
                placeholder=_("Ask it now: Who is …?"), max_length=MAX_QUESTION, scale=5,
                container=False, elem_id="live-question",
            )  # fmt: skip
            ask = gr.Button(
                _("Ask"), variant="primary", scale=1, min_width=110, elem_id="live-ask-button"
            )
        asked = gr.HTML(elem_id="live-asked", js_on_load=HOLD.format("asked"))
    return Audience(names, question, ask, asked)


def wire_audience(lab: Lab, audience: Audience, watching: gr.State) -> None:
    """Connects the question box.

    Args:
        lab: has the run on show.
        audience: the parts.
        watching: the id of the run on show.
    """
    shown = [audience.question, audience.asked]
    gr.on(
        [audience.ask.click, audience.question.submit], bound(begin, lab),
        [watching, audience.question], shown, queue=False, **QUIET,
    ).success(
        bound(answer, lab), watching, audience.asked, concurrency_id="model", **QUIET
    )  # fmt: skip


def begin(lab: Lab, run_id: str, question: str) -> list[Any]:
    """Keeps a question, and shows that it waits: the emptied box, and the questions.

    Raises:
        LabError: there is no run, nothing was typed, or too many questions wait.
    """
    question = (question or "").strip()[:MAX_QUESTION]
    if not run_id:
        raise LabError("There is no run to ask yet. Start one; it can be asked while it trains.")
    if not question:
        raise LabError("Type a question first.")
    lab.registry.ask_live(run_id, question)
    return ["", asked_html(lab, lab.registry.run(run_id))]


def answer(lab: Lab, run_id: str) -> Any:
    """Answers what waits, unless the run's own process does it; the questions with their answers.

    Raises:
        LabError: the run can't be asked.
    """
    run = lab.registry.run(run_id)
    if run.live or run.status == "queued":
        return gr.skip()
    for row in lab.registry.live_questions(run_id, waiting=True):
        lab.registry.answer_live(run_id, [_answered(lab, run_id, row)])
    return asked_html(lab, run)


def parts(lab: Lab, run: RunSummary, drawn: int) -> dict[str, tuple[str, Any]]:
    """The parts that `live_panel.news` sends: by name their version, and what makes their HTML.

    Args:
        lab: has the run.
        run: the run on show.
        drawn: the newest metric row when the grid of facts was drawn.

    Raises:
        LabError: the registry can't be read.
    """
    understood, asked, answered = lab.registry.live_counts(run.id)
    return {
        "names": (f"{run.id} {run.status} {drawn} {understood}", lambda: names_html(lab, run)),
        "asked": (f"{run.id} {run.live} {asked} {answered}", lambda: asked_html(lab, run)),
    }


def _answered(lab: Lab, run_id: str, row: LiveQuestion) -> LiveQuestion:
    newest = lab.chat.checkpoints(run_id)[-1]
    steps = lab.chat.stream(run_id, row.question, [newest], ANSWER_TOKENS)
    reply = [reply for reply in steps if reply.done][-1]
    text = first_line(reply.text)
    return row._replace(phase="finished", checkpoint=newest, answer=text, known=reply.verdict.known)
