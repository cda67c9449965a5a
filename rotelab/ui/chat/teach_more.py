"""Chat's “Teach it more”: new facts for the chosen run as a later lesson, and how to undo one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS
from rotelab.errors import LabError
from rotelab.registry import RunRow
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.teach import new_facts
from rotelab.ui.components import QUIET, bound, note
from rotelab.ui.i18n import _, ngettext
from rotelab.ui.lessons.teach_panel import (
    TeachPanel,
    build_teach_panel,
    can_be_asked,
    ending,
    lead_html,
    lesson_at_work,
    sheet_of,
    watch,
    wire_teach_panel,
)
from rotelab.ui.lessons.typed_facts import Cells, headers, relations_of, reshaped
from rotelab.ui.run_picker import RunChooser, with_choice

TO_BOX = """() => requestAnimationFrame(() =>
    document.getElementById("chat-teach-box")?.scrollIntoView({block: "nearest"}))"""
TO_RUN = """() => document.getElementById("chat-run")?.scrollIntoView({block: "nearest"})"""
"""Scroll to the panel that was opened, and back to the questions once the lesson can be asked."""


@dataclass(frozen=True)
class TeachMore:
    """The components.

    Args:
        open: shows the panel, or hides it.
        is_open: whether it is on show.
        box: holds the panel.
        panel: the panel.
        undo: asks whether the chosen lesson should be deleted.
        confirm: holds that question; `question`, `sure` and `keep` are in it.
    """

    open: gr.Button
    is_open: gr.State
    box: gr.Column
    panel: TeachPanel
    undo: gr.Button
    confirm: gr.Column
    question: gr.HTML
    sure: gr.Button
    keep: gr.Button

    @property
    def of_run(self) -> list[Any]:
        """The outputs of `choose`."""
        return [
            self.open, self.undo, self.confirm, self.is_open, self.box, self.panel.table,
            *self.panel.shown,
        ]  # fmt: skip


def build_buttons() -> tuple[gr.Button, gr.Button]:
    """The two buttons, inside the current row: teach more, and undo."""
    teach = gr.Button(
        _("Teach it more"), size="sm", visible=False, scale=0, min_width=130, elem_id="chat-teach"
    )
    undo = gr.Button(
        _("Undo this lesson"), size="sm", visible=False, scale=0, min_width=140,
        elem_id="chat-undo",
    )  # fmt: skip
    return teach, undo


def build_teach_more(lab: Lab, teach: gr.Button, undo: gr.Button) -> TeachMore:
    """Lays out what the two buttons open, inside the current column.

    Args:
        lab: has the runs.
        teach: opens the panel.
        undo: opens the question whether to delete a lesson.
    """
    with gr.Column(
        visible=False, elem_id="chat-undo-confirm", elem_classes=["teach-box"]
    ) as confirm:
        question = gr.HTML(padding=False)
        with gr.Row():
            sure = gr.Button(_("Yes, undo it"), variant="stop", elem_id="chat-undo-sure")
            keep = gr.Button(_("No, keep it"))
    with gr.Column(visible=False, elem_id="chat-teach-box", elem_classes=["teach-box"]) as box:
        panel = build_teach_panel(lab, "chat-teach", [], headers(["…"]), 290)
    return TeachMore(teach, gr.State(False), box, panel, undo, confirm, question, sure, keep)


def wire_teach_more(lab: Lab, parts: TeachMore, chooser: RunChooser) -> None:
    """Connects the parts.

    Args:
        lab: has the runs.
        parts: the components.
        chooser: of the run to ask; it goes to a lesson as soon as that can be asked.
    """
    run, panel = chooser.run, parts.panel
    run.change(bound(choose, lab), [run, panel.table], parts.of_run, **QUIET)
    wire_teach_panel(lab, panel, run)
    parts.open.click(
        bound(toggle, lab), [run, parts.is_open, panel.table],
        [parts.is_open, parts.box, panel.table, panel.lead], **QUIET,
    ).then(None, None, None, js=TO_BOX, **QUIET)  # fmt: skip
    panel.live.tick(
        bound(go_on, lab), [run, panel.lesson, panel.table],
        [run, parts.is_open, parts.box, panel.table, *panel.shown], trigger_mode="once", **QUIET,
    ).then(None, None, None, js=TO_RUN, **QUIET)  # fmt: skip
    parts.undo.click(bound(ask_to_undo, lab), run, [parts.confirm, parts.question], **QUIET)
    parts.keep.click(lambda: gr.Column(visible=False), None, parts.confirm, **QUIET)
    parts.sure.click(bound(undo, lab), run, [run, parts.confirm], **QUIET)


# Handlers ----------------------------------------------------------------------------------------


def choose(lab: Lab, run_id: str | None, rows: Cells) -> list[Any]:
    """What changes with the run, in the order of `TeachMore.of_run`: the buttons; no question; and
    the panel, open if the run is being taught just now, with what was typed in it."""
    nothing = [gr.Button(visible=False)] * 2 + [gr.Column(visible=False), False]
    try:
        run = lab.registry.run(run_id or "")
        relations = relations_of(lab, run.id)
        lesson_id = lesson_at_work(lab, run.id)
        table = sheet_of(reshaped(rows, relations), headers(relations))
        live = watch(lab, lesson_id)
        buttons = [
            gr.Button(visible=_teachable(lab, run)),
            gr.Button(visible=_can_be_undone(lab, run)),
        ]
    except LabError:  # none is chosen, or it is damaged, which is said beside the question
        return [*nothing, gr.Column(visible=False), gr.skip(), *watch(lab, "")]
    shown = bool(lesson_id)
    return [*buttons, gr.Column(visible=False), shown, gr.Column(visible=shown), table, *live]


def toggle(lab: Lab, run_id: str | None, is_open: bool, rows: Cells) -> list[Any]:
    """Shows the panel with the columns that the run needs and what it takes by now, or hides it.

    Raises:
        LabError: there is no such run, or its row is damaged.
    """
    if is_open or not run_id:
        return [False, gr.Column(visible=False), gr.skip(), gr.skip()]
    relations = relations_of(lab, run_id)
    table = sheet_of(reshaped(rows, relations), headers(relations))
    return [True, gr.Column(visible=True), table, lead_html(lab, run=lab.registry.run(run_id))]


def go_on(lab: Lab, run_id: str | None, lesson_id: str, rows: Cells) -> list[Any]:
    """Once a lesson can be asked: chooses it, and closes the panel. If it ended before: says why,
    and leaves what was typed.

    Fills the chooser, whether the panel is open, its box, the table and `TeachPanel.shown`.
    """
    if not lesson_id:
        return [gr.skip()] * 9
    try:
        lesson = lab.registry.run(lesson_id)
        if not can_be_asked(lab, lesson):
            return [*[gr.skip()] * 4, *watch(lab, "", ending(lesson))]
        chosen = with_choice(lab, lesson_id)
        relations = relations_of(lab, lesson_id)
    except LabError as error:  # deleted meanwhile
        return [*[gr.skip()] * 4, *watch(lab, "", note(str(error), "bad"))]
    empty = sheet_of(reshaped([], relations), headers(relations))
    return [chosen, False, gr.Column(visible=False), empty, *watch(lab, "")]


def ask_to_undo(lab: Lab, run_id: str | None) -> list[Any]:
    """Shows the question whether to delete a lesson, and what goes with it.

    Raises:
        LabError: there is no such run.
    """
    run = lab.registry.run(run_id or "")
    count = len(new_facts(run))
    words = ngettext(
        "Delete this lesson with its {n} new fact, and what it was asked? The run before it stays "
        "as it is.",
        "Delete this lesson with its {n} new facts, and what it was asked? The run before it stays "
        "as it is.",
        count,
    )
    return [gr.Column(visible=True), f"<p>{words.format(n=count)}</p>"]


def undo(lab: Lab, run_id: str | None) -> list[Any]:
    """Deletes a lesson, and goes back to the run that it continued; fills the chooser, and hides
    the question.

    Raises:
        LabError: it is no lesson, or it can't be deleted.
    """
    run = lab.registry.run(run_id or "")
    if not run.is_lesson:
        raise LabError(f"Run {run.id} is not a lesson. The Runs tab deletes runs.")
    if run.live or run.status == "queued":  # it can be asked already, but still has questions
        lab.jobs.stop(run.id, None)
        lab.jobs.escalate(run.id)
    lab.delete(run.id)
    return [with_choice(lab, run.parent_id), gr.Column(visible=False)]


def _teachable(lab: Lab, run: RunRow) -> bool:
    """Whether a run has the two adapters that a lesson builds on."""
    config = run.config
    both = config.method == "lora" and config.stages == "two"
    return both and set(CHECKPOINTS) <= set(lab.chat.checkpoints(run.id))


def _can_be_undone(lab: Lab, run: RunRow) -> bool:
    """Whether a run is a lesson that no other continues."""
    if not run.is_lesson:
        return False
    return not any(lab.registry.run(later).is_lesson for later in lab.registry.runs_after(run.id))
