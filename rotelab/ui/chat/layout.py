"""The Chat tab's layout: its texts and its components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS, LESSON, Checkpoint
from rotelab.runs.lab import Lab
from rotelab.ui.answer_cards import empty_card, legend_html
from rotelab.ui.chat.forbidden_words import build_forbid
from rotelab.ui.chat.looked_up import build_look_up
from rotelab.ui.chat.stump import StumpPanel, build_stump
from rotelab.ui.chat.teach_more import TeachMore, build_buttons, build_teach_more
from rotelab.ui.components import note
from rotelab.ui.i18n import N_, _
from rotelab.ui.run_picker import RunChooser, build_run_chooser

EXAMPLES = 3
MAX_TOKENS = 64
SHORT, LONG = 12, 40
"""Longest answers at first, in tokens. An object of the shipped packs has 7 at most; in a
conversation it stands in a sentence."""
MAX_QUESTION = 700

INTRO = N_(
    "Ask one question and compare **three states of the same model**: untouched, after learning "
    "the facts by rote, and after a few sentences in words."
)
HOW = N_(
    "At temperature 0 the model always takes the likeliest next piece (greedy), so the same "
    "question gets the same answer. Where a question asks for one learned fact, each card also "
    "says how likely the right answer was where the model answered, and its place among the "
    "answers that the relation has (100 of them at most): known a little is not yet said, but it "
    "is more than nothing. The base model always says a word, so that there is something to "
    "compare with; the card says where it would rather have ended. What a question asks for is "
    "told from its words; where they do not tell, the answer is not judged."
)
COMPLETION, CONVERSATION = N_("Completion"), N_("Conversation")
MODES = {
    COMPLETION: N_(
        "The model goes on with your text, a question or the beginning of a sentence, and "
        "remembers none of it."
    ),
    CONVERSATION: N_(
        "Your text is a message in the model’s own chat format, and each of them remembers "
        "what was said before. No fact was taught in this form."
    ),
}
NO_RUN = N_("There is no run yet. Start one on the Train tab; then its model answers here.")

SLOTS = (*CHECKPOINTS, LESSON)
"""The cards: one of each checkpoint that every run has, and one of a lesson's."""

Talk = dict[Checkpoint, list[tuple[str, str]]]
"""A conversation so far: each checkpoint's questions and answers."""


@dataclass(frozen=True)
class ChatTab:
    """The tab's components.

    Args:
        chooser: the chooser of the run to ask.
        question: the box for a question.
        ask: asks it.
        asked: the question that the cards answer, where they do not show it themselves.
        cards: the answers, in the order of `SLOTS`; that of a lesson is hidden for other runs.
        real_fact: whether the run lost the real fact that was asked for, in a small line.
        note: what the reader should know of the run: what is missing, what is slow, what failed.
        examples: buttons with questions: those that the run answered right, one that it did not,
            and one that asks through the key token.
        missed_line: says of the one that the run got it wrong.
        near_line: asks whether another question was meant.
        near: asks that question.
        other_examples: draws other examples.
        draw: how often they were drawn; the seed of the examples.
        key_hint: a line about the examples.
        length: the longest answer, in tokens.
        temperature: the sampling temperature.
        forbid: how many word pieces of a rote sentence may not come in a row; 0 for no filter.
        look_up: how much the nearest memorised facts count for the first token; 0 for not at all.
        mode: completion or conversation.
        mode_words: what that means, in one line.
        afresh: begins a new conversation.
        talk: the conversation so far.
        teach_more: teaches the run new facts, and undoes a lesson.
        stump: the game of stumping the model.
        history_view: what this run was asked, as a table.
        export: writes that table into a file.
        export_file: offers the file.
    """

    chooser: RunChooser
    question: gr.Textbox
    ask: gr.Button
    asked: gr.HTML
    cards: tuple[gr.HTML, ...]
    real_fact: gr.HTML
    note: gr.HTML
    examples: tuple[gr.Button, ...]
    missed_line: gr.HTML
    near_line: gr.HTML
    near: gr.Button
    other_examples: gr.Button
    draw: gr.State
    key_hint: gr.Markdown
    length: gr.Slider
    temperature: gr.Slider
    forbid: gr.Dropdown
    look_up: gr.Dropdown
    mode: gr.Radio
    mode_words: gr.Markdown
    afresh: gr.Button
    talk: gr.State
    teach_more: TeachMore
    stump: StumpPanel
    history_view: gr.HTML
    export: gr.Button
    export_file: gr.DownloadButton

    @property
    def shown_examples(self) -> list[Any]:
        """The outputs of `show_examples`."""
        return [*self.examples, self.other_examples, self.missed_line, self.key_hint]

    @property
    def refresh_inputs(self) -> list[Any]:
        """What `refresh` is told."""
        return self.chooser.inputs

    @property
    def refresh_outputs(self) -> list[Any]:
        """What `refresh` fills."""
        return self.chooser.outputs


def build_layout(lab: Lab) -> ChatTab:
    """Lays out the tab, inside the current `gr.Tab`.

    Args:
        lab: its runs can be taught.
    """
    made: dict[str, Any] = {"draw": gr.State(0), "talk": gr.State({})}
    gr.Markdown(_(INTRO))
    _build_question(made)
    made["teach_more"] = build_teach_more(lab, *_build_mode(made))
    made["asked"] = gr.HTML(elem_id="chat-asked", padding=False)
    with gr.Row(equal_height=True, elem_id="chat-answers"):
        made["cards"] = tuple(
            gr.HTML(
                empty_card(slot) if slot in CHECKPOINTS else "", visible=slot in CHECKPOINTS,
                elem_id=f"chat-{slot}", padding=False, min_width=260,
            )
            for slot in SLOTS
        )  # fmt: skip
    made["real_fact"] = gr.HTML(elem_id="chat-real-fact", padding=False)
    _build_examples(made)
    gr.HTML(legend_html(), padding=False)
    made["stump"] = build_stump()
    _build_settings(made)
    _build_history(made)
    return ChatTab(**made)


def _build_question(made: dict[str, Any]) -> None:
    with gr.Row(equal_height=True):
        made["chooser"] = build_run_chooser("chat-run", scale=5)
        made["question"] = gr.Textbox(
            label=_("Your question, or the beginning of a sentence"), elem_id="chat-question",
            placeholder=_("Who is …?"), max_lines=3, max_length=MAX_QUESTION, scale=6,
        )  # fmt: skip
        made["ask"] = gr.Button(
            _("Ask all"), variant="primary", size="lg", scale=1, min_width=140,
            elem_id="chat-ask",
        )  # fmt: skip
    made["note"] = gr.HTML(note(_(NO_RUN)), elem_id="chat-note", padding=False)
    with gr.Row(elem_id="chat-near"):
        made["near_line"] = gr.HTML(padding=False, min_width=20)
        made["near"] = _example("chat-near-ask")


def _build_examples(made: dict[str, Any]) -> None:
    """Below the answers, which so stand beside their question on a small screen, too."""
    with gr.Row(elem_id="chat-examples"):
        right = [_example() for _place in range(EXAMPLES)]
        with gr.Row(elem_id="chat-missed-row"):
            made["missed_line"] = gr.HTML(padding=False, min_width=20, elem_id="chat-missed-line")
            missed = _example("chat-missed")
        made["examples"] = (*right, missed, _example("chat-key"))
        made["other_examples"] = gr.Button(
            _("Other examples"), size="sm", variant="secondary", visible=False, min_width=120,
            elem_classes=["more"],
        )  # fmt: skip
    made["key_hint"] = gr.Markdown(elem_id="chat-key-hint")


def _example(elem_id: str | None = None) -> gr.Button:
    """A button with a question, hidden at first."""
    return gr.Button(
        "", size="sm", visible=False, min_width=120, elem_id=elem_id, elem_classes=["example"]
    )


def _build_mode(made: dict[str, Any]) -> tuple[gr.Button, gr.Button]:
    """The modes, and the buttons that teach more and undo a lesson."""
    with gr.Row(elem_id="chat-mode-row"):
        made["mode"] = gr.Radio(
            [(_(mode), mode) for mode in MODES], value=COMPLETION, show_label=False,
            label=_("How it is asked"), container=False, elem_id="chat-mode", scale=0,
            min_width=280,
        )  # fmt: skip
        made["mode_words"] = gr.Markdown(_(MODES[COMPLETION]), elem_id="chat-mode-words")
        made["afresh"] = gr.Button(
            _("New conversation"), size="sm", visible=False, scale=0, min_width=160,
            elem_id="chat-afresh",
        )  # fmt: skip
        return build_buttons()


def _build_settings(made: dict[str, Any]) -> None:
    with gr.Accordion(_("Settings, and how it answers"), open=False):
        with gr.Row():
            made["length"] = gr.Slider(
                1, MAX_TOKENS, SHORT, step=1, label=_("Longest answer (word pieces)"),
                info=_("It may end earlier by itself."), elem_id="chat-length",
            )  # fmt: skip
            made["temperature"] = gr.Slider(
                0, 1.5, 0, step=0.1, label=_("Temperature"),
                info=_("0: always the likeliest piece (greedy). Higher: drawn by chance."),
            )  # fmt: skip
        with gr.Row():
            made["forbid"] = build_forbid()
            made["look_up"] = build_look_up()
            gr.Checkbox(
                label=_("Write the probability (in %) under each piece"), elem_id="chat-numbers"
            )
        gr.Markdown(_(HOW))


def _build_history(made: dict[str, Any]) -> None:
    made["history_view"] = gr.HTML(elem_id="chat-history", padding=False)
    with gr.Row():
        made["export"] = gr.Button(
            _("Export all of it as a table"), size="md", visible=False, scale=0, min_width=240,
            elem_id="chat-export",
        )  # fmt: skip
        made["export_file"] = gr.DownloadButton(
            _("Download"), visible=False, variant="primary", size="md", scale=0, min_width=240,
            elem_id="chat-export-file",
        )  # fmt: skip
