"""The panel that teaches a run more: a small table, a button, and the names as they light up.

The page's own script (`assets/live.js`) asks for news while a lesson is learned, and triggers
Gradio's event `tick` of the live part once the lesson can be asked, or has ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import lesson_checkpoint
from rotelab.errors import LabError
from rotelab.registry import RunRow
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.teach import new_facts
from rotelab.runs.timing.lessons import estimate_lesson
from rotelab.ui.components import QUIET, bound, note, roughly, runs_ahead
from rotelab.ui.i18n import N_, _
from rotelab.ui.lessons.html import learning_html
from rotelab.ui.lessons.typed_facts import (
    Cells,
    facts_of_lines,
    filled_up,
    headers,
    relations_of,
    teach_rows,
    typed_count,
    with_lines,
)
from rotelab.ui.polling import Pace
from rotelab.ui.tables.cell_edits import cell_edits
from rotelab.ui.wording import slower_words

TICK_S = 1.0
PACE = Pace(TICK_S, 10)
FAULT_S = 10.0
"""Seconds after which a page that met a fault asks again."""

BY_ROTE = N_(
    "They are learned by rote alone: <b>no sentence in words is read</b>. Then you can ask about "
    "them in words."
)
LINES = N_("… or paste lines here: subject, object")


@dataclass(frozen=True)
class TeachPanel:
    """The panel's components.

    Args:
        lead: what is said above the button, and how long it takes by now.
        table: the new facts, as they are typed.
        paste: takes several lines at once.
        start: teaches them.
        remark: what is wrong with them, or with the lesson.
        live: the lesson that is being learned; its event `tick` says that it can be asked or has
            ended.
        stop: stops it.
        lesson: its id, never seen; empty while there is none. No `gr.State`: the page's script
            can't read that.
    """

    lead: gr.HTML
    table: gr.Dataframe
    paste: gr.Textbox
    start: gr.Button
    remark: gr.HTML
    live: gr.HTML
    stop: gr.Button
    lesson: gr.Textbox

    @property
    def shown(self) -> list[Any]:
        """The outputs of `watch` and `begin`."""
        return [self.lesson, self.remark, self.live, self.start, self.stop]


def build_teach_panel(
    lab: Lab,
    elem_id: str,
    rows: Sequence[Sequence[str]],
    heads: Sequence[str],
    height: int = 330,
    lead: str = BY_ROTE,
    lines: str = LINES,
) -> TeachPanel:
    """Lays out the panel, inside the current column or group.

    Args:
        lab: has the lessons.
        elem_id: begins the element ids of its parts.
        rows: what stands in the table at first.
        heads: of the table's columns.
        height: of the table at most, in pixels.
        lead: what is said above the button.
        lines: what the box for several lines says.
    """
    lesson = gr.Textbox("", visible=False)
    with gr.Row(elem_classes=["teach-panel"]):
        with gr.Column(scale=6, min_width=340):
            table = gr.Dataframe(
                filled_up(rows), headers=list(heads), type="array", interactive=True,
                max_height=height, show_label=False, label=_("New facts"), buttons=[],
                show_row_numbers=True, elem_id=f"{elem_id}-table", elem_classes=["teach-table"],
            )  # fmt: skip
            cell_edits(table, f"{elem_id}-table")
            paste = gr.Textbox(
                show_label=False, label=_("Several at once"), lines=2, max_lines=2,
                max_length=100_000, elem_id=f"{elem_id}-paste",
                placeholder=_(lines),
                elem_classes=["teach-paste"],
            )  # fmt: skip
        with gr.Column(scale=5, min_width=340):
            takes = gr.HTML(lead_html(lab, lead), padding=False)
            with gr.Row():
                start = gr.Button(_("Teach by rote"), variant="primary", elem_id=f"{elem_id}-start")
                stop = gr.Button(
                    _("Stop"), variant="stop", visible=False, elem_id=f"{elem_id}-stop"
                )
            remark = gr.HTML(padding=False, elem_id=f"{elem_id}-remark")
            live = gr.HTML(
                padding=False, elem_id=f"{elem_id}-live", elem_classes=["teach-live"],
                server_functions=[bound(news, lab)],
                js_on_load="rotelabLive.followLesson(element, trigger, server, props);",
            )  # fmt: skip
    return TeachPanel(takes, table, paste, start, remark, live, stop, lesson)


def lead_html(lab: Lab, lead: str = BY_ROTE, run: RunRow | None = None) -> str:
    """What is said above the button, and how long a lesson takes by now.

    Args:
        lab: has the earlier lessons.
        lead: the words.
        run: the run that is taught; None for the recorded one.

    Raises:
        LabError: the registry can't be read.
    """
    guess = estimate_lesson(lab.registry, run)
    takes = ""
    if guess.seconds is not None:
        takes = _("It takes about {time}.").format(time=roughly(guess.seconds))
    # While a lesson is learned the panel counts down beside it: not two figures for one thing.
    takes = f'<span class="takes">{takes} {slower_words(guess)}</span>'
    return f'<p class="lead">{_(lead)} {takes}</p>'


def wire_teach_panel(
    lab: Lab,
    panel: TeachPanel,
    run: Any,
    run_of: Callable[[str], str] = str,
    heads: Callable[[Sequence[str]], list[str]] = headers,
    most: int = 0,
) -> None:
    """Connects the panel's own parts; the tab itself listens to `panel.live.tick`.

    Args:
        lab: has the run.
        panel: the panel.
        run: a component whose value says which run is taught.
        run_of: makes the run's id of that value.
        heads: the heads of the table's columns for a run's relations.
        most: how many facts can be taught at once; 0 for any number.
    """

    def starts(chosen: str | None, rows: Cells) -> list[Any]:
        return begin(lab, lambda: run_of(chosen or ""), rows, most)

    def takes(chosen: str | None, rows: Cells, text: str) -> list[Any]:
        return take_lines(lab, lambda: run_of(chosen or ""), rows, text, heads)

    panel.start.click(
        bound(starts), [run, panel.table], panel.shown, trigger_mode="once",
        show_progress_on=panel.start, api_visibility="private",
    )  # fmt: skip
    panel.stop.click(bound(stop, lab), panel.lesson, [panel.remark, panel.stop], **QUIET)
    # Gradio's `input` tells of keys only, not of what is pasted.
    panel.paste.change(
        bound(takes), [run, panel.table, panel.paste], [panel.table, panel.paste, panel.remark],
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip


# Handlers ----------------------------------------------------------------------------------------


def begin(lab: Lab, run: Callable[[], str], rows: Cells, most: int = 0) -> list[Any]:
    """Starts the lesson, or says what is wrong with the table, in which nothing changes; in the
    order of `TeachPanel.shown`.

    Args:
        lab: has the run.
        run: returns the id of the run that is taught.
        rows: the table.
        most: how many facts can be taught at once; 0 for any number.
    """
    try:
        typed = typed_count(rows)
        if 0 < most < typed:
            raise LabError(f"{typed} rows are filled; at most {most} are taught at once here.")
        lesson_id = teach_rows(lab, run(), rows)
    except LabError as error:
        return [gr.skip(), note(str(error), "bad"), *[gr.skip()] * 3]
    return watch(lab, lesson_id)


def watch(lab: Lab, lesson_id: str, remark: str = "") -> list[Any]:
    """Shows a lesson while it is learned, or none; in the order of `TeachPanel.shown`.

    Args:
        lab: has the lesson.
        lesson_id: empty for none.
        remark: what is said beside it, as HTML.

    Raises:
        LabError: there is no such lesson, or the registry can't be read.
    """
    shown = _live_html(lab, lab.registry.run(lesson_id)) if lesson_id else ""
    at_work = bool(lesson_id)
    return [
        lesson_id, remark, shown, gr.Button(visible=not at_work),
        gr.Button(_("Stop"), visible=at_work, interactive=True),
    ]  # fmt: skip


def stop(lab: Lab, lesson_id: str) -> list[Any]:
    """Asks the lesson to stop; fills the remark and the button.

    Raises:
        LabError: there is no such lesson, or the registry can't be written.
    """
    if lesson_id:
        lab.jobs.stop(lesson_id)
    return ["", gr.Button(_("Stopping…"), interactive=False)]


def take_lines(
    lab: Lab,
    run: Callable[[], str],
    rows: Cells,
    text: str,
    heads: Callable[[Sequence[str]], list[str]] = headers,
) -> list[Any]:
    """Moves whole lines from the box into the table; fills table, box and remark.

    While a single line is being typed, nothing happens.

    Args:
        lab: has the run.
        run: returns the id of the run that is taught.
        rows: the table.
        text: what stands in the box.
        heads: the heads of the table's columns for a run's relations.
    """
    if "\n" not in (text or ""):
        return [gr.skip()] * 3
    try:
        relations = relations_of(lab, run())
        more = facts_of_lines(text, relations)
    except LabError as error:
        return [gr.skip(), gr.skip(), note(str(error), "bad")]
    return [sheet_of(with_lines(rows, more), heads(relations)), "", ""]


def sheet_of(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> dict[str, Any]:
    """The table's value."""
    return {"headers": list(heads), "data": [list(row) for row in rows]}


def news(lab: Lab, asked: dict[str, Any]) -> dict[str, Any]:
    """What has changed in the lesson on show, for the page's script (`assets/live.js`).

    Args:
        lab: has the lesson.
        asked: `lesson`, the `version` that was sent last, and `every`, the seconds between two
            requests.

    Returns:
        `update`, whether the lesson can be asked or has ended; otherwise `html` and its `version`
        where it has changed; and `every`, in how many seconds to ask again.
    """
    every = asked.get("every")
    every = float(every) if isinstance(every, int | float) else TICK_S
    answer = {"update": False, "every": PACE.ticked(min(max(every, TICK_S), FAULT_S))}
    try:
        run = lab.registry.run(str(asked.get("lesson") or ""))
        if can_be_asked(lab, run) or not _at_work(run):
            return answer | {"update": True}
        html = _live_html(lab, run)
    except LabError:  # the event `tick` meets it too, and shows it on the page
        return answer | {"update": True, "every": FAULT_S}
    version = hashlib.blake2b(html.encode(), digest_size=8).hexdigest()
    if version == asked.get("version"):
        return answer
    return answer | {"html": html, "version": version}


# Lessons -----------------------------------------------------------------------------------------


def can_be_asked(lab: Lab, run: RunRow) -> bool:
    """Whether a lesson has been learned: its adapter is saved, even if questions are still asked.

    Raises:
        LabError: the run's row is damaged.
    """
    lesson = run.config.lesson
    return lesson is not None and lesson_checkpoint(lesson.number) in lab.chat.checkpoints(run.id)


def lesson_at_work(lab: Lab, run_id: str) -> str:
    """The id of the lesson that a run is being taught now; empty if there is none.

    Raises:
        LabError: the registry can't be read.
    """
    for later in reversed(lab.registry.runs_after(run_id)):
        run = lab.registry.run(later)
        if _at_work(run) and run.config.lesson is not None and not can_be_asked(lab, run):
            return run.id
    return ""


def ending(run: RunRow) -> str:
    """Why a lesson ended before it was learned, as HTML."""
    if run.status == "stopped":
        return note(_("Stopped before it was learned. What you typed is still here."), "warn")
    return note(run.error or _("It ended before it was learned."), "bad")


def _at_work(run: RunRow) -> bool:
    return run.live or run.status == "queued"


def _live_html(lab: Lab, run: RunRow) -> str:
    recalls = lab.registry.fact_recall(run.id, "lesson")
    return learning_html(run, new_facts(run), recalls, runs_ahead(lab, run))
