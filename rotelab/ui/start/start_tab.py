"""The tab “Start here”: a five-step tour for people who have never trained a model.

It shows a recorded run (`runs.demo`), asks its three checkpoints live, and ends with names of the
reader's own (`own_names`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.errors import LabError
from rotelab.reports.figures.demo import recall_curve
from rotelab.runs import demo
from rotelab.runs.lab import Lab
from rotelab.ui.answer_cards import answer_card, asked_html, empty_card
from rotelab.ui.components import QUIET, bound, escape, given_name, note
from rotelab.ui.i18n import N_, _
from rotelab.ui.start import html as words
from rotelab.ui.start.own_names import OwnNames, build_own_names, lead

LOADING = N_("Loading the model … only before the first answer.")
THINKING = N_("Waiting for its turn …")
NOTHING = ""


@dataclass(frozen=True)
class StartTab:
    """The components that the page connects with others.

    Args:
        own: the last step; None where the recording can't be read.
        stepper: the steps; likewise.
    """

    own: OwnNames | None
    stepper: gr.Walkthrough | None


@dataclass(frozen=True)
class Ask:
    """A button that asks a question, and the components that it fills.

    Args:
        button: the button.
        question: the question.
        checkpoints: the checkpoints that answer.
        cards: their answers, in the same order.
        remark: says what the answers show.
        by_heart: whether the question goes through the key token.
    """

    button: gr.Button
    question: str
    checkpoints: tuple[Checkpoint, ...]
    cards: tuple[gr.HTML, ...]
    remark: gr.HTML
    by_heart: bool = False


def build_start_tab(lab: Lab) -> StartTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: imports the recorded run, answers questions and teaches it names.
    """
    try:
        recording = demo.recording()
    except LabError as error:
        # Without its recording the tour shows only this error; the rest of the lab still works.
        gr.HTML(note(str(error), "bad"), padding=False)
        return StartTab(None, None)
    asks: list[Ask] = []
    with gr.Walkthrough(selected=0, elem_id="tour") as stepper:
        with gr.Step(_(words.STEPS[0]), id=0) as meet:
            gr.HTML(words.line(_(words.MEET)) + words.facts_html(recording.facts), padding=False)
            first = _next(_("Next: ask the model about them →"), "tour-meet", "primary")
        with gr.Step(_(words.STEPS[1]), id=1) as asking:
            taken_in = gr.HTML(padding=False, elem_id="tour-taken-in")
            asks += _build_ask(recording)
            second = _next(_("Next: let it learn them by heart →"), "tour-on-rote")
        with gr.Step(_(words.STEPS[2]), id=2) as rote:
            curve, more = _build_rote(recording)
            asks += more
            third = _next(_("Next: show it what the word means →"), "tour-on-words")
        with gr.Step(_(words.STEPS[3]), id=3) as in_words:
            lesson, more = _build_words(recording)
            asks += more
            fourth = _next(_("Next: now do it yourself →"), "tour-on-own")
        with gr.Step(_(words.STEPS[4]), id=4) as last:
            own = build_own_names(lab)
    last.select(bound(lead, lab), None, own.panel.lead, **QUIET)
    fills = [taken_in, curve, lesson]
    # Reaching a step by its button counts as selecting it, too.
    entered = gr.on(
        [asking.select, rote.select, in_words.select], bound(enter, lab), None, fills,
        trigger_mode="once", **QUIET,
    )  # fmt: skip
    # The model is loaded while people read, so that the first answer comes sooner.
    entered.then(bound(warm, lab), None, None, concurrency_id="model", **QUIET)
    for place, step in enumerate((meet, asking, rote, in_words, last)):
        step.select(None, None, None, js=f"() => rotelabTour.keep({place})", **QUIET)
    for place, button in enumerate((first, second, third, fourth), 1):
        button.click(_to(place), None, stepper, queue=False, **QUIET)
    for ask in asks:
        _wire_ask(lab, ask)
    return StartTab(own, stepper)


def return_to_step(page: gr.Blocks, tab: StartTab) -> None:
    """Opens the tour at the step where this browser left it."""
    if tab.stepper is not None:
        page.load(None, None, tab.stepper, js="() => rotelabTour.kept()", **QUIET)


def opens_here(lab: Lab) -> bool:
    """Whether the lab is new: it has no runs besides the tour's own.

    Raises:
        LabError: the registry can't be read.
    """
    return lab.registry.count_runs(examples=False) == 0


# Steps -------------------------------------------------------------------------------------------


def _build_ask(recording: demo.Recording) -> list[Ask]:
    question = recording.questions[0]
    gr.HTML(words.line(_(words.ASK)) + words.question_html(question), padding=False)
    button = gr.Button(
        _("Ask the untouched model"), variant="primary", elem_id="tour-ask-base",
        elem_classes=["tour-next"],
    )  # fmt: skip
    card = gr.HTML(empty_card("base"), padding=False, elem_id="tour-base")
    remark = gr.HTML(padding=False)
    return [Ask(button, question, ("base",), (card,), remark)]


def _build_rote(recording: demo.Recording) -> tuple[gr.Plot, list[Ask]]:
    question = recording.questions[0]
    subject = recording.fact_of(question).subject
    gr.HTML(words.line(_(words.ROTE).format(n=len(recording.facts))), padding=False)
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            curve = gr.Plot(
                recall_curve([], len(recording.facts), gettext=_), show_label=False,
                elem_id="tour-curve",
            )  # fmt: skip
        with gr.Column(scale=7, min_width=420):
            gr.HTML(words.line(_(words.TWO_WAYS).format(relation=demo.RELATION)), padding=False)
            with gr.Row():
                key = gr.Button(
                    f"{subject} [{demo.RELATION}]", variant="primary", elem_id="tour-ask-key"
                )
                plain = gr.Button(question, variant="primary", elem_id="tour-ask-rote")
            with gr.Row(equal_height=True, elem_classes=["tour-answers"]):
                by_key = gr.HTML(empty_card("memorized"), padding=False, elem_id="tour-key")
                by_words = gr.HTML(empty_card("memorized"), padding=False, elem_id="tour-rote")
            remark = gr.HTML(padding=False)
    who: tuple[Checkpoint, ...] = ("memorized",)
    return curve, [
        Ask(key, f"{subject} [{demo.RELATION}]", who, (by_key,), remark, by_heart=True),
        Ask(plain, question, who, (by_words,), remark),
    ]


def _build_words(recording: demo.Recording) -> tuple[gr.HTML, list[Ask]]:
    with gr.Row():
        with gr.Column(scale=6, min_width=380):
            lesson = gr.HTML(padding=False, elem_id="tour-lesson")
        # One below the other; side by side, each would seem to belong to the card under it.
        with gr.Column(scale=5, min_width=380, elem_classes=["tour-choices"]):
            gr.HTML(words.line(_(words.UNDERSTAND)), padding=False)
            buttons = [
                gr.Button(question, elem_id=f"tour-ask-{i}")
                for i, question in enumerate(recording.questions)
            ]
    remark = gr.HTML(padding=False, elem_id="tour-answered")
    with gr.Row(equal_height=True, elem_classes=["tour-answers"]):
        cards = tuple(
            gr.HTML(empty_card(c), padding=False, elem_id=f"tour-all-{c}", min_width=260)
            for c in CHECKPOINTS
        )
    return lesson, [
        Ask(button, question, CHECKPOINTS, cards, remark)
        for button, question in zip(buttons, recording.questions, strict=True)
    ]


def _next(label: str, elem_id: str, variant: str = "secondary") -> gr.Button:
    return gr.Button(label, elem_id=elem_id, variant=variant, elem_classes=["tour-next"])


def _to(place: int):
    return lambda: gr.Walkthrough(selected=place)


# Handlers ----------------------------------------------------------------------------------------


def enter(lab: Lab) -> list[Any]:
    """Imports the recorded run, if needed; fills the note about it, its curve and its sentences.

    Raises:
        LabError: the recording is damaged, or the home folder can't be written.
    """
    run_id = demo.open_run(lab)[0]
    run = lab.registry.run(run_id)
    fact, sentences = demo.taught_sentences(run)
    k, n = run.config.generalize.k, len(run.pack.facts)
    said = _(words.WORDS).format(k=k, n=n, who=escape(fact.subject))
    return [
        f'<p class="hint">{_(words.RECORDED).format(name=escape(given_name(run.name)))}</p>',
        gr.Plot(recall_curve(lab.registry.metrics(run_id, ["recall"]), n, gettext=_)),
        words.line(said) + words.lesson_html(sentences),
    ]


def warm(lab: Lab) -> None:
    """Loads the recorded run's model into memory, if it is not loaded yet."""
    # Nobody has asked yet. If the model can't be loaded, the first question shows the error.
    with contextlib.suppress(LabError):
        run_id = demo.open_run(lab)[0]
        if not lab.chat.ready(run_id):
            for _step in lab.chat.stream(run_id, "Hello", ["base"], max_new_tokens=1):
                pass


def begin(lab: Lab, question: str, checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Shows at once that the question has arrived: waiting cards, and the question in place of the
    remark where the reader can choose among several."""
    run_id = demo.open_run(lab)[0]
    waiting = _(THINKING if lab.chat.ready(run_id) else LOADING)
    asked = asked_html(question) if checkpoints == CHECKPOINTS else NOTHING
    return [*(empty_card(c, True, waiting) for c in checkpoints), asked]


def ask(
    lab: Lab, question: str, checkpoints: Sequence[Checkpoint], by_heart: bool
) -> Iterator[list[Any]]:
    """Streams the answers into their cards, then the remark on the last one.

    Each step says again what is answered: somebody may have pressed another question meanwhile,
    whose own answers come only after these.

    An error is shown beside the question, where it stays, and not in a message that disappears.
    """
    done = {}
    asked = asked_html(question) if checkpoints == CHECKPOINTS else NOTHING
    try:
        run_id = demo.open_run(lab)[0]
        fact = demo.recording().fact_of(question)
        answers = lab.chat.stream(run_id, question, checkpoints, max_new_tokens=demo.ANSWER_TOKENS)
        for reply in answers:
            cards = {reply.checkpoint: answer_card(reply)}
            if reply.done:
                done[reply.checkpoint] = reply
            yield [*(cards.get(c, gr.skip()) for c in checkpoints), asked]
        last = done[checkpoints[-1]]
        remark = words.recited(last, fact) if by_heart else words.remark(last, fact)
        yield [*(gr.skip() for _ in checkpoints), asked + remark]
    except LabError as error:
        empty = [gr.skip() if c in done else empty_card(c) for c in checkpoints]
        yield [*empty, note(str(error), "bad")]


def _wire_ask(lab: Lab, ask_: Ask) -> None:
    outputs = [*ask_.cards, ask_.remark]
    who, question, by_heart = ask_.checkpoints, ask_.question, ask_.by_heart

    def at_once() -> list[str]:
        return begin(lab, question, who)

    def answer() -> Iterator[list[Any]]:
        yield from ask(lab, question, who, by_heart)

    ask_.button.click(
        bound(at_once), None, outputs, queue=False, **QUIET
    ).then(bound(answer), None, outputs, concurrency_id="model", **QUIET)  # fmt: skip
