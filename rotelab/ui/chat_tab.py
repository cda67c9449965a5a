"""The Chat tab: one question, three answers side by side, each from another checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from rotelab.chat import example_questions
from rotelab.errors import LabError
from rotelab.lab import Lab
from rotelab.registry import CHECKPOINTS, RunRow
from rotelab.ui.answers import (
    LEGEND,
    MAX_HISTORY,
    Asked,
    answer_card,
    empty_card,
    history_html,
    note,
)
from rotelab.ui.common import CHECKPOINT_NAMES, bound
from rotelab.ui.run_chooser import QUIET, build_run_chooser, offered

EXAMPLES = 3
MAX_TOKENS = 64
MAX_QUESTION = 700

INTRO = (
    "Ask one question and compare **three states of the same model**: untouched, after learning "
    "the facts by rote, and after a few sentences in words."
)
HOW = (
    "The model continues your text: a question, or the beginning of a sentence such as "
    "“The mother of Mary is”. This is completion of one text, not a conversation; nothing is "
    "remembered from question to question. At temperature 0 it always takes the likeliest next "
    "piece (greedy), so the same question gets the same answer."
)
NO_RUN = "There is no run yet. Start one on the Train tab; then its model answers here."
LOADING = "Loading the model … a few seconds, the first time."
WAITING = "Waiting for its turn …"

log = logging.getLogger("rotelab.page")


@dataclass(frozen=True)
class ChatTab:
    """What others need of this tab.

    Args:
        run: the chooser of runs; its value is a run's id.
        known: what is known of the runs that the chooser offers.
        question: the box.
        cards: the answers, by checkpoint in the order of `CHECKPOINTS`.
        note: why it can't answer, or what is missing.
        examples: buttons with questions.
        key_hint: the line above the example through the key token.
        history: the questions of this session.
        history_view: the same as a table.
    """

    run: gr.Dropdown
    known: gr.State
    question: gr.Textbox
    ask: gr.Button
    cards: tuple[gr.HTML, ...]
    note: gr.HTML
    examples: tuple[gr.Button, ...]
    other_examples: gr.Button
    draw: gr.State
    key_hint: gr.Markdown
    length: gr.Slider
    temperature: gr.Slider
    history: gr.State
    history_view: gr.HTML
    refresh_outputs: list[Any] = field(default_factory=list)


def build_chat_tab(lab: Lab) -> ChatTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: whom to ask.
    """
    draw, history = gr.State(0), gr.State([])
    gr.Markdown(INTRO)
    with gr.Row(equal_height=True):
        run, known = build_run_chooser("chat-run", scale=5)
        question = gr.Textbox(
            label="Your question, or the beginning of a sentence", elem_id="chat-question",
            placeholder="Who is …?", max_lines=3, max_length=MAX_QUESTION, scale=6,
        )  # fmt: skip
        button = gr.Button(
            "Ask all three", variant="primary", size="lg", scale=1, min_width=140,
            elem_id="chat-ask",
        )  # fmt: skip
    remark = gr.HTML(note(NO_RUN), elem_id="chat-note", padding=False)
    with gr.Row(elem_id="chat-examples"):
        examples = [
            gr.Button("", size="sm", visible=False, min_width=120, elem_classes=["example"])
            for _ in range(EXAMPLES + 1)
        ]
        other = gr.Button("Other examples", size="sm", variant="secondary", visible=False,
                          min_width=120, elem_classes=["more"])  # fmt: skip
    key_hint = gr.Markdown(elem_id="chat-key-hint")
    with gr.Row(equal_height=True, elem_id="chat-answers"):
        cards = tuple(
            gr.HTML(empty_card(c), elem_id=f"chat-{c}", padding=False, min_width=260)
            for c in CHECKPOINTS
        )
    gr.HTML(LEGEND, padding=False)
    with gr.Accordion("Settings, and how it answers", open=False):
        with gr.Row():
            length = gr.Slider(
                1, MAX_TOKENS, 24, step=1, label="Longest answer (word pieces)",
                info="It may end earlier by itself.",
            )  # fmt: skip
            temperature = gr.Slider(
                0, 1.5, 0, step=0.1, label="Temperature",
                info="0: always the likeliest piece (greedy). Higher: drawn by chance.",
            )  # fmt: skip
            gr.Checkbox(
                label="Write the probability (in %) under each piece", elem_id="chat-numbers"
            )
        gr.Markdown(HOW)
    history_view = gr.HTML(elem_id="chat-history", padding=False)
    tab = ChatTab(
        run, known, question, button, cards, remark, tuple(examples), other, draw, key_hint,
        length, temperature, history, history_view, [run, known],
    )  # fmt: skip
    _wire(lab, tab)
    return tab


def refresh(lab: Lab) -> list[Any]:
    """Reads the list of runs anew; in the order of `ChatTab.refresh_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    return offered(lab)


def choose(lab: Lab, run_id: str | None, draw: int) -> list[Any]:
    """What changes with the run: note, empty cards, examples and the line on the key token.

    Raises:
        LabError: the registry can't be read.
    """
    if not run_id:
        return [note(NO_RUN), *map(empty_card, CHECKPOINTS), *_no_examples(), ""]
    try:
        run = lab.registry.run(run_id)
        there = lab.chat.checkpoints(run_id)
        examples = show_examples(lab, run_id, draw)
    except LabError as error:
        cards = [empty_card(c) for c in CHECKPOINTS]
        return [note(str(error), "bad"), *cards, *_no_examples(), ""]
    cards = [empty_card(c, c in there) for c in CHECKPOINTS]
    return [state_note(lab, run), *cards, *examples]


def renew(lab: Lab, run_id: str | None) -> Any:
    """The note alone, when a run has moved on; what was asked and answered stays.

    Raises:
        LabError: the registry can't be read.
    """
    return state_note(lab, lab.registry.run(run_id)) if run_id else gr.skip()


def show_examples(lab: Lab, run_id: str | None, draw: int) -> list[Any]:
    """The example buttons of a run, the last one through its key token, and the line on that."""
    if not run_id:
        return [*_no_examples(), ""]
    run = lab.registry.run(run_id)
    questions = example_questions(run, EXAMPLES, draw)
    words, key = questions[:-1], questions[-1]
    spare = EXAMPLES - len(words)
    buttons = [gr.Button(text, visible=True) for text in words]
    buttons += [gr.Button(visible=False)] * spare
    buttons.append(gr.Button(key, visible=True))
    held_out = run.config.generalize.k < max(len(r.facts) for r in run.pack.facts.relations)
    about = ", about facts that phase 2 never saw in words" if held_out else ""
    hint = (
        f"Examples in wordings that were never trained{about}. `{key}` asks through the **key "
        "token**: a made-up word without meaning, the only way in which phase 1 saw a fact."
    )
    return [*buttons, gr.Button(visible=True), hint]


def more_examples(lab: Lab, run_id: str | None, draw: int) -> list[Any]:
    """Other examples of the same run."""
    return [draw + 1, *show_examples(lab, run_id, draw + 1)]


def begin(lab: Lab, run_id: str | None, text: str) -> list[Any]:
    """Says at once that the question has arrived: question, note and the three cards."""
    text = (text or "").strip()
    if not run_id or not text:
        words = NO_RUN if not run_id else "Type a question first, or click one of the examples."
        return [text, note(words, "warn"), *[gr.skip()] * len(CHECKPOINTS)]
    there = lab.chat.checkpoints(run_id)
    words = WAITING if lab.chat.ready(run_id) else LOADING
    return [text, "", *(empty_card(c, c in there, words) for c in CHECKPOINTS)]


def ask(
    lab: Lab,
    run_id: str | None,
    text: str,
    length: float,
    temperature: float,
    history: list[Asked],
) -> Iterator[list[Any]]:
    """Streams the three answers: note, cards, history and its table.

    What goes wrong stands in the note, beside the question, rather than in a passing message.
    """
    text = (text or "").strip()[:MAX_QUESTION]
    if not run_id or not text:
        yield _update()
        return
    answers: dict[str, tuple[str, str]] = {}
    try:
        run = lab.registry.run(run_id)
        there = lab.chat.checkpoints(run_id)
        steps = lab.chat.stream(
            run_id, text, there, int(length), float(temperature), seed=len(history)
        )
        for reply in steps:
            update = {reply.checkpoint: answer_card(reply)}
            if reply.done:
                answers[reply.checkpoint] = (reply.text, reply.verdict.known)
            yield _update(cards=update)
        remark = state_note(lab, run)
        history = [*history, Asked(run.name or f"Run {run.number}", text, answers)][-MAX_HISTORY:]
    except LabError as error:
        yield _update(note(str(error), "bad"), _cleared(lab, run_id, answers))
        return
    except Exception:
        log.exception("answering in run %s failed", run_id)
        words = (
            "The model could not answer: something went wrong inside. If memory is short, stop "
            "other programs or ask for a shorter answer. The details are in the server's log."
        )
        yield _update(note(words, "bad"), _cleared(lab, run_id, answers))
        return
    yield _update(remark, history=history, table=history_html(history))


def state_note(lab: Lab, run: RunRow) -> str:
    """What a person should know before asking this run: what is missing, what is slow."""
    there = lab.chat.checkpoints(run.id)
    missing = [CHECKPOINT_NAMES[c] for c in CHECKPOINTS if c not in there]
    words = []
    if missing:
        have = " and ".join(CHECKPOINT_NAMES[c] for c in there)
        lack = " and ".join(missing)
        when = (
            "The rest comes while it trains."
            if run.live or run.status == "queued"
            else "It ended before the rest was learned."
        )
        words.append(f"Of this run there is: {have}. Not there: {lack}. {when}")
    live = lab.registry.live_runs()
    if live:
        device = lab.registry.run(live[0].id).device_used
        if device and device != "cpu":
            words.append(
                "A run is training on the GPU just now; there may be no room to answer until it "
                "has ended."
            )
        else:
            words.append("A run is training just now, so answers come more slowly.")
    return note(" ".join(words))


def _cleared(lab: Lab, run_id: str, answers: dict) -> dict[str, str]:
    """Cards that were still waiting, emptied."""
    there = lab.chat.checkpoints(run_id)
    return {c: empty_card(c, c in there) for c in CHECKPOINTS if c not in answers}


def _update(
    remark: Any = None, cards: dict | None = None, history: Any = None, table: Any = None
) -> list[Any]:
    """The outputs of `ask`; what is None stays as it is."""
    values = [remark, *((cards or {}).get(c) for c in CHECKPOINTS), history, table]
    return [gr.skip() if value is None else value for value in values]


def _no_examples() -> list[Any]:
    return [gr.Button(visible=False)] * (EXAMPLES + 2)


def _wire(lab: Lab, tab: ChatTab) -> None:
    shown_examples = [*tab.examples, tab.other_examples, tab.key_hint]
    tab.run.change(
        bound(choose, lab), [tab.run, tab.draw], [tab.note, *tab.cards, *shown_examples], **QUIET
    )
    tab.known.change(bound(renew, lab), [tab.run], [tab.note], **QUIET)
    tab.other_examples.click(
        bound(more_examples, lab), [tab.run, tab.draw], [tab.draw, *shown_examples], **QUIET
    )
    asking = {
        "fn": bound(ask, lab),
        "inputs": [tab.run, tab.question, tab.length, tab.temperature, tab.history],
        "outputs": [tab.note, *tab.cards, tab.history, tab.history_view],
        "concurrency_id": "model",
        **QUIET,
    }
    waiting = [tab.question, tab.note, *tab.cards]
    gr.on(
        [tab.ask.click, tab.question.submit], bound(begin, lab), [tab.run, tab.question], waiting,
        queue=False, **QUIET,
    ).then(**asking)  # fmt: skip
    for example in tab.examples:
        example.click(
            bound(begin, lab), [tab.run, example], waiting, queue=False, **QUIET
        ).then(**asking)  # fmt: skip
