"""The Chat tab: one question, answered side by side by each of a run's checkpoints: the three of
every run, and for a later lesson that lesson's.

Asked as a text to go on with (completion), or as a message in a conversation.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS, Checkpoint, lesson_number
from rotelab.errors import LabError
from rotelab.evaluation.judging.questions import Query, what_is_asked
from rotelab.registry import ChatAnswer
from rotelab.runs.asking.examples import example_questions
from rotelab.runs.chat import Reply, compared_checkpoints
from rotelab.runs.lab import Lab
from rotelab.ui.address import linked_run
from rotelab.ui.answer_cards import LACKS, answer_card, empty_card
from rotelab.ui.chat.example_words import examples_hint
from rotelab.ui.chat.forbidden_words import asked_line, mode_kept
from rotelab.ui.chat.history import export_history, shown_history
from rotelab.ui.chat.layout import (
    COMPLETION,
    CONVERSATION,
    EXAMPLES,
    LONG,
    MAX_QUESTION,
    MODES,
    NO_RUN,
    SHORT,
    SLOTS,
    ChatTab,
    Talk,
    build_layout,
)
from rotelab.ui.chat.real_facts import real_fact_line
from rotelab.ui.chat.state_note import compared, state_note
from rotelab.ui.chat.stump import wire_stump
from rotelab.ui.chat.teach_more import wire_teach_more
from rotelab.ui.components import QUIET, bound, note
from rotelab.ui.i18n import N_, _
from rotelab.ui.run_picker import offered

ALL = QUIET | {"trigger_mode": "multiple"}
"""For events that wait for their turn; by default Gradio drops all but the first."""
LOADING = N_("Loading the model … only before the first answer.")
WAITING = N_("Waiting for its turn …")

log = logging.getLogger("rotelab.page")


def build_chat_tab(lab: Lab) -> ChatTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: its runs answer.
    """
    tab = build_layout(lab)
    _wire(lab, tab)
    return tab


def refresh(
    lab: Lab, run_id: str | None, known: list[list[str]], request: gr.Request | None = None
) -> list[Any]:
    """Reads the list of runs anew; in the order of `ChatTab.refresh_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    return offered(lab, run_id, known, linked=linked_run(lab, request, "chat"))


def choose(lab: Lab, run_id: str | None, draw: int) -> list[Any]:
    """What changes with the run: note, empty cards, the line on real facts, examples and the line
    that explains the key token, no conversation, its history.

    Raises:
        LabError: the registry can't be read.
    """
    history = shown_history(lab, run_id)
    if not run_id:
        cards = _only({c: empty_card(c) for c in CHECKPOINTS})
        return [note(_(NO_RUN)), "", *cards, "", *_no_examples(), {}, *history]
    try:
        run = lab.registry.run(run_id)
        cards = _only(_empty_cards(lab, run_id))
        line = real_fact_line(lab, run_id)
        examples = show_examples(lab, run_id, draw)
    except LabError as error:
        cards = _only({c: empty_card(c) for c in CHECKPOINTS})
        return [note(str(error), "bad"), "", *cards, "", *_no_examples(), {}, *history]
    return [state_note(lab, run), "", *cards, line, *examples, {}, *history]


def choose_mode(lab: Lab, run_id: str | None, mode: str) -> list[Any]:
    """Says what the mode is, and begins anew: words, button, no conversation, empty cards, longest
    answer.

    Raises:
        LabError: the registry can't be read.
    """
    cards = _empty_cards(lab, run_id) if run_id else {c: empty_card(c) for c in CHECKPOINTS}
    talks, shown = mode == CONVERSATION, _in_slots(cards)
    return [_(MODES[mode]), gr.Button(visible=talks), {}, "", *shown, LONG if talks else SHORT]


def renew(lab: Lab, run_id: str | None, *cards: str) -> list[Any]:
    """When a run has moved on: the note, and the cards of checkpoints that have come meanwhile;
    what was asked and answered stays.

    Raises:
        LabError: the registry can't be read.
    """
    if not run_id:
        return [gr.skip()] * (1 + len(SLOTS))
    there = lab.chat.checkpoints(run_id)
    news = {
        c: empty_card(c)
        for c, card in zip(compared(lab, run_id), cards, strict=False)
        if c in there and LACKS in (card or "")
    }
    return [state_note(lab, lab.registry.run(run_id)), *_in_slots(news)]


def show_examples(lab: Lab, run_id: str | None, draw: int) -> list[Any]:
    """The example buttons of a run, that for others, and the lines on the missed one and on all;
    in the order of `ChatTab.shown_examples`.

    Raises:
        LabError: the registry can't be read, or the run's row is damaged.
    """
    if not run_id:
        return _no_examples()
    run = lab.registry.run(run_id)
    found = example_questions(lab.registry, run, EXAMPLES, draw)
    asked = [*found.right, *found.untried]
    texts = [*asked, *[""] * (EXAMPLES - len(asked)), found.missed, found.key]
    buttons = [gr.Button(text, visible=bool(text)) for text in texts]
    missed = f"<p class='hint'>{_('It got this one wrong:')}</p>" if found.missed else ""
    return [*buttons, gr.Button(visible=True), missed, examples_hint(run, found)]


def more_examples(lab: Lab, run_id: str | None, draw: int) -> list[Any]:
    """Other examples of the same run."""
    return [draw + 1, *show_examples(lab, run_id, draw + 1)]


def did_you_mean(lab: Lab, run_id: str | None, text: str) -> list[Any]:
    """The line and the button that offer the same question with a learned name put right; hidden
    where there is nothing to put right."""
    found = ""
    if run_id and (text or "").strip():
        with contextlib.suppress(LabError):  # no such run any more, which `ask` says
            pack = lab.registry.run(run_id).pack
            query = Query.parse(text, [relation.name for relation in pack.facts.relations])
            found = what_is_asked(pack, query).suggestion
    line = f"<p class='hint'>{_('Did you mean:')}</p>" if found else ""
    return [line, gr.Button(found, visible=bool(found))]


def begin(
    lab: Lab, run_id: str | None, text: str, mode: str = COMPLETION, talk: Talk | None = None
) -> list[Any]:
    """Says at once that the question has arrived: question, note, the line on real facts, cards."""
    text = (text or "").strip()
    if not run_id or not text:
        words = (
            _(NO_RUN) if not run_id else _("Type a question first, or click one of the examples.")
        )
        return [text, note(words, "warn"), gr.skip(), *[gr.skip()] * len(SLOTS)]
    words = _(WAITING if lab.chat.ready(run_id) else LOADING)
    turns = (talk or {}) if mode == CONVERSATION else {}
    cards = _in_slots(_empty_cards(lab, run_id, words, turns))
    return [text, "", real_fact_line(lab, run_id, text), *cards]


def ask(
    lab: Lab,
    run_id: str | None,
    text: str,
    length: float,
    temperature: float,
    mode: str = COMPLETION,
    talk: Talk | None = None,
    forbid: int = 0,
    look_up: float = 0.0,
) -> Iterator[list[Any]]:
    """Streams the answers: cards, the conversation so far, at last the note of `settle`; and
    at first the question, which may have waited behind another one.

    Each token costs the server what its outputs cost, so nothing else is among them.
    """
    text = (text or "").strip()[:MAX_QUESTION]
    if not run_id or not text:
        yield _update()
        return
    talks = mode == CONVERSATION
    turns = (talk or {}) if talks else {}
    yield _update(asked=asked_line("" if talks else text, forbid, look_up))
    answers: dict[Checkpoint, ChatAnswer] = {}
    try:
        run = lab.registry.run(run_id)
        who = compared_checkpoints(run)
        asked = lab.registry.chat_history(run_id, 1)
        steps = lab.chat.steps(
            run_id, text, who, int(length), float(temperature),
            seed=asked[-1].turn if asked else 0, turns=turns if talks else None, evidence=True,
            forbid=forbid, look_up=look_up,
        )  # fmt: skip
        for replies in steps:
            update = {}
            for reply in replies:
                before = turns.get(reply.checkpoint, ())
                update[reply.checkpoint] = answer_card(reply, before, text if talks else "")
                if reply.done:
                    answers[reply.checkpoint] = _kept(reply)
            yield _update(update)
        answers = {c: answers[c] for c in who if c in answers}  # they end as they end
        remark = state_note(lab, run)
        how = mode_kept(mode, forbid, look_up)
        lab.registry.add_chat(run_id, text, answers.values(), how, float(temperature))
        if talks:
            turns = {c: [*turns.get(c, ()), (text, a.answer)] for c, a in answers.items()}
    except LabError as error:
        yield _update(_cleared(lab, run_id, answers), remark=note(str(error), "bad"))
        return
    except Exception:
        log.exception("answering in run %s failed", run_id)
        words = _(
            "The model could not answer: something went wrong inside. If memory is short, stop "
            "other programs or ask for a shorter answer. The details are in the server's log."
        )
        yield _update(_cleared(lab, run_id, answers), remark=note(words, "bad"))
        return
    yield _update({}, turns, remark)


def settle(lab: Lab, run_id: str | None, remark: str | None) -> list[Any]:
    """After the answers: the note, the history and its export.

    What went wrong stands in the note, beside the question, rather than in a passing message.

    Raises:
        LabError: the registry can't be read.
    """
    if not run_id or remark is None:
        return [gr.skip()] * 4
    return [remark, *shown_history(lab, run_id)]


def _empty_cards(
    lab: Lab, run_id: str, words: str = "", turns: Talk | None = None
) -> dict[Checkpoint, str]:
    """A card without an answer for each of a run's checkpoints."""
    there = lab.chat.checkpoints(run_id)
    return {
        c: empty_card(c, c in there, words, (turns or {}).get(c, ())) for c in compared(lab, run_id)
    }


def _in_slots(cards: Mapping[Checkpoint, str]) -> list[Any]:
    """The values of `ChatTab.cards`; a card that is not given stays as it is."""
    lesson = next((card for c, card in cards.items() if lesson_number(c)), None)
    return [*(cards.get(c, gr.skip()) for c in CHECKPOINTS), lesson or gr.skip()]


def _only(cards: Mapping[Checkpoint, str]) -> list[Any]:
    """The same for another run: shows the card of a lesson, or hides it."""
    *others, lesson = _in_slots(cards)
    shown = isinstance(lesson, str)
    return [*others, gr.HTML(lesson, visible=True) if shown else gr.HTML(visible=False)]


def _cleared(lab: Lab, run_id: str, answers: dict) -> dict[str, str]:
    """Cards that were still waiting, emptied."""
    return {c: card for c, card in _empty_cards(lab, run_id).items() if c not in answers}


def _kept(reply: Reply) -> ChatAnswer:
    """What is kept of an answer."""
    known, found = reply.verdict.known, reply.evidence
    if found is None:
        return ChatAnswer(reply.checkpoint, reply.text, known)
    return ChatAnswer(
        reply.checkpoint, reply.text, known, found.probability, found.rank, found.among
    )


def _update(
    cards: dict | None = None,
    talk: Talk | None = None,
    remark: str | None = None,
    asked: str | None = None,
) -> list[Any]:
    """The outputs of `ask`; what is not given stays as it is, but for the remark."""
    rest = [gr.skip() if value is None else value for value in (talk, asked)]
    return [*_in_slots(cards or {}), rest[0], remark, rest[1]]


def cleared(mode: str, question: str, talk: Talk | None) -> Any:
    """The question box once the answers are there: empty in a conversation, whose last turn shows
    the question, unless something else has been typed meanwhile."""
    last = {turns[-1][0] for turns in (talk or {}).values() if turns}
    return "" if mode == CONVERSATION and last == {question.strip()} else gr.skip()


def _no_examples() -> list[Any]:
    return [*[gr.Button(visible=False)] * (EXAMPLES + 3), "", ""]


def _wire(lab: Lab, tab: ChatTab) -> None:
    shown_examples = tab.shown_examples
    history, remark = [tab.history_view, tab.export, tab.export_file], gr.State()
    run = tab.chooser.run
    run.change(
        bound(choose, lab), [run, tab.draw],
        [tab.note, tab.asked, *tab.cards, tab.real_fact, *shown_examples, tab.talk, *history],
        **QUIET,
    )  # fmt: skip
    gr.on(
        [tab.mode.change, tab.afresh.click], bound(choose_mode, lab), [run, tab.mode],
        [tab.mode_words, tab.afresh, tab.talk, tab.asked, *tab.cards, tab.length], **QUIET,
    )  # fmt: skip
    tab.export.click(bound(export_history, lab), run, tab.export_file, **QUIET)
    tab.chooser.moved.change(bound(renew, lab), [run, *tab.cards], [tab.note, *tab.cards], **QUIET)
    tab.other_examples.click(
        bound(more_examples, lab), [run, tab.draw], [tab.draw, *shown_examples], **QUIET
    )
    asking = {
        "fn": bound(ask, lab),
        "inputs": [
            run,
            tab.question,
            tab.length,
            tab.temperature,
            tab.mode,
            tab.talk,
            tab.forbid,
            tab.look_up,
        ],
        "outputs": [*tab.cards, tab.talk, remark, tab.asked],
        "concurrency_id": "model",
        **ALL,
    }
    settling = {
        "fn": bound(settle, lab),
        "inputs": [run, remark],
        "outputs": [tab.note, *history],
        **ALL,
    }
    waiting = [tab.question, tab.note, tab.real_fact, *tab.cards]
    gr.on(
        [tab.ask.click, tab.question.submit], bound(begin, lab),
        [run, tab.question, tab.mode, tab.talk], waiting, queue=False, **ALL,
    ).then(**asking).then(**settling).then(
        cleared, [tab.mode, tab.question, tab.talk], tab.question, queue=False, **ALL
    )  # fmt: skip
    wire_teach_more(lab, tab.teach_more, tab.chooser)
    wire_stump(lab, tab.stump, run)
    nearly = {"fn": bound(did_you_mean, lab), "outputs": [tab.near_line, tab.near], **ALL}
    gr.on([tab.ask.click, tab.question.submit], inputs=[run, tab.question], **nearly)
    run.change(lambda: ["", gr.Button(visible=False)], None, nearly["outputs"], **QUIET)
    for example in (*tab.examples, tab.near):
        example.click(inputs=[run, example], **nearly)
        example.click(
            bound(begin, lab), [run, example, tab.mode, tab.talk], waiting, queue=False, **ALL
        ).then(**asking).then(**settling)  # fmt: skip
