"""The tour's last step: a few names of the reader's own, learned by rote and then asked about.

The recorded run is taught them as a later lesson. What was typed, and which lesson it became, stays
in the browser for as long as its tab is open, so that a reload or another language loses nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import LESSON, Checkpoint
from rotelab.errors import LabError
from rotelab.evaluation.judging.questions import Query, asked_fact
from rotelab.facts.facts import Fact
from rotelab.registry import RunRow
from rotelab.runs import demo
from rotelab.runs.asking.examples import example_questions
from rotelab.runs.chat import Reply, compared_checkpoints
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.teach import new_facts
from rotelab.ui.answer_cards import answer_card, asked_html, empty_card
from rotelab.ui.components import QUIET, bound, note
from rotelab.ui.i18n import N_, _, ngettext
from rotelab.ui.lessons.teach_panel import (
    TeachPanel,
    build_teach_panel,
    can_be_asked,
    ending,
    lead_html,
    sheet_of,
    watch,
    wire_teach_panel,
)
from rotelab.ui.lessons.typed_facts import filled_up
from rotelab.ui.start import html as words

MOST = 8
"""Most names of one lesson: more are not looked at."""
QUESTIONS = 3
MAX_QUESTION = 200
SLOTS = ("base", "generalized", LESSON)
"""The cards: the untouched model, the one that was recorded, and the one that learned the names."""

READY = 6 + QUESTIONS + len(SLOTS)
"""How many components `OwnNames.shown` has."""

LOADING = N_("Loading the model … only before the first answer.")
THINKING = N_("Waiting for its turn …")

KEEP_ROWS = "(table) => rotelabOwn.keepRows(table.data)"
KEEP_LESSON = "(watched, learned) => rotelabOwn.keepLesson(watched || learned)"
KEPT = "() => rotelabOwn.kept()"
"""Of `assets/typing.js`: keep what was typed and the lesson's id in the browser, and read both."""
SHOW_TABLE = """() => requestAnimationFrame(() =>
    document.querySelector("#tour-own-table")?.scrollIntoView({block: "center"}))"""


@dataclass(frozen=True)
class OwnNames:
    """The step's components.

    Args:
        teaching: holds the panel; hidden once the names are learned.
        panel: the table, and the names as they light up.
        asking: holds the questions; hidden before.
        learned: the id of the lesson that can be asked, never seen; empty before.
        line: says that the names are known.
        buttons: questions in wordings that were never trained.
        question: takes another question.
        ask: asks it.
        cards: the answers, in the order of `SLOTS`.
        remark: says what they show.
        names: what was learned, folded up.
        again: shows the table, below the questions.
        kept: never seen; what the browser kept.
        to_chat: opens Chat with the model that was taught, or with the recorded one.
        to_train: opens the short run on own names.
    """

    teaching: gr.Column
    panel: TeachPanel
    asking: gr.Column
    learned: gr.Textbox
    line: gr.HTML
    buttons: tuple[gr.Button, ...]
    question: gr.Textbox
    ask: gr.Button
    cards: tuple[gr.HTML, ...]
    remark: gr.HTML
    names: gr.HTML
    again: gr.Button
    kept: tuple[gr.Textbox, gr.Textbox]
    to_chat: gr.Button
    to_train: gr.Button

    @property
    def shown(self) -> list[Any]:
        """The outputs of `ready`."""
        return [
            self.learned, self.teaching, self.asking, self.line, *self.buttons, *self.cards,
            self.remark, self.names,
        ]  # fmt: skip

    @property
    def restored(self) -> list[Any]:
        """The outputs of `restore`."""
        return [self.panel.table, *self.shown, *self.panel.shown]


def build_own_names(lab: Lab) -> OwnNames:
    """Lays out the step and connects its parts.

    Args:
        lab: has the recorded run and its lessons.
    """
    learned = gr.Textbox("", visible=False)
    kept = gr.Textbox("", visible=False), gr.Textbox("", visible=False)
    with gr.Column(visible=False) as asking:
        line = gr.HTML(padding=False, elem_id="tour-own-line")
        with gr.Row(elem_classes=["tour-choices"]):
            buttons = tuple(
                gr.Button("", visible=False, min_width=260, elem_id=f"tour-own-ask-{i}")
                for i in range(QUESTIONS)
            )
        with gr.Row(equal_height=True):
            question = gr.Textbox(
                show_label=False, label=_("Your own question"), lines=1, max_lines=1, scale=6,
                max_length=MAX_QUESTION, placeholder=_("… or ask in words of your own"),
                elem_id="tour-own-question",
            )  # fmt: skip
            ask = gr.Button(
                _("Ask"), variant="primary", scale=1, min_width=120, elem_id="tour-own-ask"
            )
            again = gr.Button(
                _("Teach other names"), scale=1, min_width=170, elem_id="tour-own-again"
            )
        remark = gr.HTML(padding=False, elem_id="tour-own-answered")
        with gr.Row(equal_height=True, elem_classes=["tour-answers"]):
            cards = tuple(
                gr.HTML(padding=False, elem_id=f"tour-own-{slot}", min_width=240) for slot in SLOTS
            )
        names = gr.HTML(padding=False, elem_id="tour-own-names")
    with gr.Column() as teaching:
        gr.HTML(words.line(_(words.OWN).format(most=MOST)), padding=False)
        panel = build_teach_panel(
            lab, "tour-own", _first_rows(), _heads([]), 365, words.OWN_LEAD, words.OWN_LINES
        )
    gr.HTML(f'<p class="hint">{_(words.OWN_MORE)}</p>', padding=False)
    with gr.Row():
        to_chat = gr.Button(
            _("Ask it anything, in Chat →"), elem_id="tour-to-chat", elem_classes=["tour-next"]
        )
        to_train = gr.Button(
            _("Train on own names from the beginning →"), elem_id="tour-to-train",
            elem_classes=["tour-next"],
        )  # fmt: skip
    own = OwnNames(
        teaching, panel, asking, learned, line, buttons, question, ask, cards, remark, names, again,
        kept, to_chat, to_train,
    )  # fmt: skip
    _wire(lab, own)
    return own


def restore_on_load(lab: Lab, page: gr.Blocks, own: OwnNames) -> None:
    """Brings back what was typed, and the lesson, when the page is opened again."""
    page.load(bound(restore, lab), [*own.kept], own.restored, js=KEPT, **QUIET)
    page.load(bound(lead, lab), None, own.panel.lead, **QUIET)


def lead(lab: Lab) -> str:
    """What is said above the button, and how long such a lesson takes by now.

    Raises:
        LabError: the registry can't be read.
    """
    return lead_html(lab, words.OWN_LEAD)


# Handlers ----------------------------------------------------------------------------------------


def go_on(lab: Lab, lesson_id: str) -> list[Any]:
    """Once the names are learned: shows the questions. If the lesson ended before: says why.

    Fills `OwnNames.shown`, then `TeachPanel.shown`.
    """
    stay = [gr.skip()] * READY
    if not lesson_id:
        return [*stay, *[gr.skip()] * 5]
    try:
        lesson = lab.registry.run(lesson_id)
        if not can_be_asked(lab, lesson):
            return [*stay, *watch(lab, "", ending(lesson))]
        return [*ready(lab, lesson), *watch(lab, "")]
    except LabError as error:  # deleted meanwhile
        return [*stay, *watch(lab, "", note(str(error), "bad"))]


def ready(lab: Lab, lesson: RunRow) -> list[Any]:
    """The questions about a lesson's names, and empty cards; in the order of `OwnNames.shown`.

    Raises:
        LabError: its row is damaged.
    """
    learned = new_facts(lesson)
    count = len(learned)
    said = ngettext(
        "It knows {n} new name by heart now, and has read <b>no sentence</b> about it. Ask in "
        "words that were never trained.",
        "It knows {n} new names by heart now, and has read <b>no sentence</b> about them. Ask in "
        "words that were never trained.",
        count,
    ).format(n=count)
    found = example_questions(lab.registry, lesson, QUESTIONS)
    asked = (*found.right, *found.untried)
    buttons = [gr.Button(question, visible=True) for question in asked]
    buttons += [gr.Button(visible=False)] * (QUESTIONS - len(asked))
    cards = [empty_card(c) for c in asked_checkpoints(lesson)]
    return [
        lesson.id, gr.Column(visible=False), gr.Column(visible=True), words.line(said), *buttons,
        *cards, "", words.names_html(learned),
    ]  # fmt: skip


def teach_again() -> gr.Column:
    """Shows the table again, below the questions."""
    return gr.Column(visible=True)


def asks_while(lesson_id: str, learned: str) -> gr.Column:
    """The questions, hidden while the next lesson is at work; without one that was learned, too."""
    return gr.Column(visible=bool(learned) and not lesson_id)


def begin(lab: Lab, lesson_id: str, question: str) -> list[Any]:
    """Shows at once that a question has arrived; fills the cards and the remark."""
    question = (question or "").strip()
    if not lesson_id or not question:
        said = note(_("Type a question first, or click one of the examples."), "warn")
        return [*[gr.skip()] * len(SLOTS), said]
    waiting = _(THINKING if lab.chat.ready(lesson_id) else LOADING)
    try:
        who = asked_checkpoints(lab.registry.run(lesson_id))
    except LabError:  # deleted meanwhile, which `ask` says
        return [gr.skip()] * (len(SLOTS) + 1)
    return [*(empty_card(c, True, waiting) for c in who), asked_html(question)]


def ask(lab: Lab, lesson_id: str, question: str) -> Iterator[list[Any]]:
    """Streams the answers into their cards, then the remark on that of the lesson; each step says
    again what is answered, as another question may have been pressed meanwhile."""
    question = (question or "").strip()[:MAX_QUESTION]
    if not lesson_id or not question:
        yield [gr.skip()] * (len(SLOTS) + 1)
        return
    done: dict[Checkpoint, Reply] = {}
    try:
        lesson = lab.registry.run(lesson_id)
        who = asked_checkpoints(lesson)
        answers = lab.chat.stream(lesson_id, question, who, max_new_tokens=demo.ANSWER_TOKENS)
        for reply in answers:
            cards = {reply.checkpoint: answer_card(reply)}
            if reply.done:
                done[reply.checkpoint] = reply
            yield [*(cards.get(c, gr.skip()) for c in who), asked_html(question)]
        told = asked_html(question) + _remark(lesson, question, done[who[-1]])
        yield [*[gr.skip()] * len(SLOTS), told]
    except LabError as error:
        yield [*[gr.skip()] * len(SLOTS), note(str(error), "bad")]


def warm(lab: Lab, lesson_id: str) -> None:
    """Loads the lesson's model into memory, so that the first answer comes sooner."""
    # Nobody has asked yet. If the model can't be loaded, the first question shows the error.
    with contextlib.suppress(LabError):
        if lesson_id and not lab.chat.ready(lesson_id):
            for _step in lab.chat.stream(lesson_id, "Hello", ["base"], max_new_tokens=1):
                pass


def restore(lab: Lab, typed: str, lesson_id: str) -> list[Any]:
    """What the browser kept: the table as it was typed, and the lesson, learned or being learned.

    In the order of `OwnNames.restored`; what can't be brought back stays as it is.
    """
    rows = _kept_rows(typed)
    table = sheet_of(filled_up(rows), _heads([])) if rows else gr.skip()
    nothing = [gr.skip()] * (READY + 5)
    try:
        lesson = lab.registry.run(lesson_id) if lesson_id else None
        if lesson is None or not lesson.is_lesson:
            return [table, *nothing]
        if can_be_asked(lab, lesson):
            return [table, *ready(lab, lesson), *watch(lab, "")]
        if lesson.live or lesson.status == "queued":
            return [table, *nothing[5:], *watch(lab, lesson.id)]
    except LabError:  # deleted meanwhile
        pass
    return [table, *nothing]


# Parts -------------------------------------------------------------------------------------------


def asked_checkpoints(lesson: RunRow) -> list[Checkpoint]:
    """The checkpoints that answer, in the order of `SLOTS`.

    Raises:
        LabError: the lesson's row is damaged.
    """
    base, _memorized, generalized, after = compared_checkpoints(lesson)
    return [base, generalized, after]


def _remark(lesson: RunRow, question: str, reply: Reply) -> str:
    """What the lesson's answer shows, where the question asks for one of its names."""
    pack = lesson.pack
    fact = asked_fact(pack, Query.parse(question, [r.name for r in pack.facts.relations]))
    taught: Sequence[Fact] = new_facts(lesson)
    return words.own_remark(reply, fact) if fact in taught else ""


def _kept_rows(typed: str) -> list[list[str]]:
    """The rows that the browser kept; none where that is not a small table of texts."""
    try:
        rows = json.loads(typed or "[]")
    except ValueError:
        return []
    sound = isinstance(rows, list) and len(rows) <= 100 and all(
        isinstance(row, list) and len(row) == 2 for row in rows
    )  # fmt: skip
    return [[str(cell or "")[:200] for cell in row] for row in rows] if sound else []


@functools.cache
def _first_rows() -> tuple[list[str], ...]:
    """Invented names that the reader may replace; made once, for the page of every language."""
    return tuple(demo.first_names())


def _heads(_relations: Sequence[str]) -> list[str]:
    return [_("Person"), _("Mother")]


def _wire(lab: Lab, own: OwnNames) -> None:
    panel, run = own.panel, gr.Textbox("", visible=False)
    wire_teach_panel(lab, panel, run, lambda _none: demo.open_run(lab)[0], _heads, MOST)
    panel.live.tick(
        bound(go_on, lab), panel.lesson, [*own.shown, *panel.shown], trigger_mode="once", **QUIET
    ).then(bound(warm, lab), own.learned, None, concurrency_id="model", **QUIET)
    own.again.click(teach_again, None, own.teaching, **QUIET).then(
        None, None, None, js=SHOW_TABLE, **QUIET
    )
    panel.lesson.change(asks_while, [panel.lesson, own.learned], own.asking, **QUIET)
    own.again.click(bound(lead, lab), None, panel.lead, **QUIET)
    panel.table.change(None, panel.table, None, js=KEEP_ROWS, **QUIET)
    gr.on(
        [panel.lesson.change, own.learned.change], None, [panel.lesson, own.learned], None,
        js=KEEP_LESSON, **QUIET,
    )  # fmt: skip
    outputs = [*own.cards, own.remark]
    typed = gr.on(
        [own.ask.click, own.question.submit], bound(begin, lab), [own.learned, own.question],
        outputs, queue=False, **QUIET,
    )  # fmt: skip
    clicked = [
        (button.click(bound(begin, lab), [own.learned, button], outputs, queue=False, **QUIET),
         button) for button in own.buttons
    ]  # fmt: skip
    for event, question in [(typed, own.question), *clicked]:
        event.then(
            bound(ask, lab), [own.learned, question], outputs, concurrency_id="model", **QUIET
        )
