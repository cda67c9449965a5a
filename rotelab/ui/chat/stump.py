"""Stump the model: a name, a wording that somebody makes up, and a scoreboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.registry import RunRow, Stump
from rotelab.runs.asking.stump import (
    MAX_QUESTION,
    names_to_try,
    save_wordings,
    score,
    try_wording,
)
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound, escape, note
from rotelab.ui.i18n import N_, _, ngettext

MOST_NAMES = 200
SHOWN = 8
"""Most wordings that are listed; all are counted."""

LEAD = N_(
    "Choose a name and ask about it in words of your own, as oddly as you like: does it still "
    "know the answer? Or lead it astray: ask something else about the name, and say so, or a real "
    "fact."
)
LABELS = {
    "answered": N_("answered"),
    "missed": N_("missed"),
    "leaked": N_("leaked: not what was asked"),
    "forgotten": N_("forgotten: a real fact"),
    "": N_("asks for something else"),
}
MARKS = {"answered": "✓", "missed": "✗", "leaked": "⚠", "forgotten": "✗", "": "–"}
TONES = {"answered": "good", "missed": "odd", "leaked": "leak", "forgotten": "lost", "": "none"}


@dataclass(frozen=True)
class StumpPanel:
    """The panel's components.

    Args:
        name: the fact that is asked for, by its index.
        question: takes a wording.
        astray: whether the wording asks for something else.
        go: tries it.
        board: what came of it, the score, and what was tried before.
        save: keeps the wordings as prompts.
        saved: says where they went.
    """

    name: gr.Dropdown
    question: gr.Textbox
    astray: gr.Radio
    go: gr.Button
    board: gr.HTML
    save: gr.Button
    saved: gr.HTML

    @property
    def of_run(self) -> list[Any]:
        """The outputs of `choose`."""
        return [self.name, self.board, self.save, self.saved]


def build_stump() -> StumpPanel:
    """Lays out the panel, closed at first."""
    with gr.Accordion(_("Stump the model"), open=False, elem_id="chat-stump"):
        gr.HTML(f"<p class='hint'>{_(LEAD)}</p>", padding=False)
        with gr.Row(equal_height=True):
            name = gr.Dropdown(
                [], label=_("About"), scale=3, min_width=200, elem_id="stump-name",
                interactive=True,
            )  # fmt: skip
            question = gr.Textbox(
                label=_("Your wording, with the name in it"), lines=1, max_lines=2, scale=6,
                max_length=MAX_QUESTION, min_width=260, elem_id="stump-question",
            )  # fmt: skip
            go = gr.Button(
                _("Try it"), variant="primary", scale=1, min_width=110, elem_id="stump-go"
            )
        astray = gr.Radio(
            [(_("this fact"), False), (_("something else, to lead it astray"), True)], value=False,
            label=_("The wording asks for"), elem_id="stump-astray",
        )  # fmt: skip
        board = gr.HTML(padding=False, elem_id="stump-board")
        with gr.Row(equal_height=True):
            save = gr.Button(
                _("Keep these wordings as test prompts"), size="md", scale=0, min_width=320,
                visible=False, elem_id="stump-save",
            )  # fmt: skip
            saved = gr.HTML(padding=False, elem_id="stump-saved")
    return StumpPanel(name, question, astray, go, board, save, saved)


def wire_stump(lab: Lab, panel: StumpPanel, run: gr.Dropdown) -> None:
    """Connects the panel.

    Args:
        lab: has the runs.
        panel: its components.
        run: the chooser of the run to ask.
    """
    run.change(bound(choose, lab), run, panel.of_run, **QUIET)
    tried = [run, panel.name, panel.question, panel.astray]
    shown = [panel.board, panel.save, panel.question]
    gr.on(
        [panel.go.click, panel.question.submit], bound(begin, lab), tried, panel.board,
        queue=False, **QUIET,
    ).then(bound(attempt, lab), tried, shown, concurrency_id="model", **QUIET)  # fmt: skip
    panel.save.click(bound(keep, lab), run, panel.saved, trigger_mode="once", **QUIET)


def choose(lab: Lab, run_id: str | None) -> list[Any]:
    """The names and the score of a run, in the order of `StumpPanel.of_run`."""
    try:
        run = lab.registry.run(run_id or "")
        facts = names_to_try(run)[:MOST_NAMES]
        tried = lab.registry.stumps(run.id)
    except LabError:  # none is chosen, or it is damaged, which is said above
        return [gr.Dropdown(choices=[], value=None), "", gr.Button(visible=False), ""]
    several = len(run.pack.facts.relations) > 1
    choices = [
        (f"{fact.subject} · {run.pack.facts.words(fact.relation)}" if several else fact.subject, i)
        for i, fact in facts
    ]
    first = choices[0][1] if choices else None
    return [
        gr.Dropdown(choices=choices, value=first), board_html(run, tried),
        gr.Button(visible=bool(tried)), "",
    ]  # fmt: skip


def begin(
    lab: Lab, run_id: str | None, fact_index: int | None, question: str, astray: bool = False
) -> str:
    """Shows at once that a wording has arrived."""
    if not run_id or not (question or "").strip():
        return gr.skip()
    run = lab.registry.run(run_id)
    said = f"<p class='stump-last' aria-busy='true'>{escape(question)} …</p>"
    return said + board_html(run, lab.registry.stumps(run_id))


def attempt(
    lab: Lab, run_id: str | None, fact_index: int | None, question: str, astray: bool = False
) -> list[Any]:
    """Tries a wording; fills the board, the button that keeps wordings, and the emptied box.

    What goes wrong stands in the board, where it stays.
    """
    try:
        if not run_id:
            raise LabError("There is no run yet. Start one on the Train tab; then stump it here.")
        run = lab.registry.run(run_id)
        chosen = -1 if fact_index is None else int(fact_index)
        last = try_wording(lab, run_id, chosen, question, astray)
    except LabError as error:
        return [note(str(error), "bad"), gr.skip(), gr.skip()]
    tried = lab.registry.stumps(run_id)
    return [_last(run, last) + board_html(run, tried), gr.Button(visible=True), ""]


def keep(lab: Lab, run_id: str | None) -> str:
    """Keeps the wordings as prompts of the run's facts, and says where."""
    try:
        found = save_wordings(lab, run_id or "")
    except LabError as error:
        return note(str(error), "warn")
    words = ngettext(
        "{n} wording is now among the prompts of “{pack}” (version {version}).",
        "{n} wordings are now among the prompts of “{pack}” (version {version}).",
        found.count,
    ).format(n=found.count, pack=found.pack, version=found.version)
    return note(f"{words} {_('A run on these facts is tested with them.')}", "good")


# Markup ------------------------------------------------------------------------------------------


def board_html(run: RunRow, tried: Sequence[Stump]) -> str:
    """The score, and the newest wordings; empty before the first."""
    if not tried:
        return ""
    counts = "".join(
        f"<div class='stump-count mark-{TONES[outcome]}'><b>{count}</b>"
        f"<span class='tag'>{_(LABELS[outcome])}</span></div>"
        for outcome, count in score(tried).items()
    )
    rows = "".join(_row(stump) for stump in list(reversed(tried))[:SHOWN])
    more = len(tried) - SHOWN
    foot = f"<p class='hint'>{_('{n} more, counted above').format(n=more)}</p>" if more > 0 else ""
    return (
        f"<div class='stump-score' role='status'>{counts}</div>"
        f"<ul class='stump-tried'>{rows}</ul>{foot}"
    )


def _last(run: RunRow, stump: Stump) -> str:
    fact = run.pack.facts[stump.fact_index]
    words = ""
    if stump.outcome == "missed":
        words = _("The right answer is <b>{answer}</b>.").format(answer=escape(fact.object))
        if stump.known == "not judged":
            words = _("Its words do not tell what it asks for; you said: this fact.") + " " + words
    said = escape(stump.answer) or _("(nothing)")
    return (
        f"<p class='stump-last'>{escape(stump.question)} <b>{said}</b> {_mark(stump)} {words}</p>"
    )


def _row(stump: Stump) -> str:
    said = escape(stump.answer) or _("(nothing)")
    return f"<li>{escape(stump.question)} <b>{said}</b> {_mark(stump)}</li>"


def _mark(stump: Stump) -> str:
    outcome = stump.outcome if stump.outcome in LABELS else ""
    return (
        f"<span class='mark-{TONES[outcome]}'><span class='tag'>{MARKS[outcome]} "
        f"{_(LABELS[outcome])}</span></span>"
    )
