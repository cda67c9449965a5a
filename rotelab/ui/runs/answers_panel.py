"""The sub-tab “Every answer”: the chosen run's single answers, filtered and by pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS, OLD_PROBE_NAMES, PROBE_NAMES
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound, checkpoint_words, page_within, sheet
from rotelab.ui.i18n import _
from rotelab.ui.runs.detail_html import ANSWER_HEADERS, answer_cells

ANSWER_PAGE = 50
"""Answers on one page."""
ALL = ""
"""The value of a filter that lets everything through."""
USUAL_PROBE = "test_prompts_heldout"


@dataclass(frozen=True)
class AnswersPanel:
    """The panel's components.

    Args:
        checkpoint: whose answers are listed.
        probe: the kind of question.
        only_wrong: whether right answers are left out.
        words: a text that an answer must contain.
        table: the answers.
        count: says how many there are.
        page: 0-based page of the table.
        back: turns a page back.
        on: turns a page on.
    """

    checkpoint: gr.Dropdown
    probe: gr.Dropdown
    only_wrong: gr.Checkbox
    words: gr.Textbox
    table: gr.Dataframe
    count: gr.Markdown
    page: gr.State
    back: gr.Button
    on: gr.Button

    @property
    def filters(self) -> list[Any]:
        """The inputs of `first_answers` after the run."""
        return [self.checkpoint, self.probe, self.only_wrong, self.words]

    @property
    def listed(self) -> list[Any]:
        """The outputs of `list_answers`."""
        return [self.table, self.count, self.page]


def build_answers_panel() -> AnswersPanel:
    """Lays out the panel."""
    with gr.Row(equal_height=True):
        checkpoint = gr.Dropdown(
            _checkpoint_choices(CHECKPOINTS), value="generalized", label=_("Model"),
            elem_id="answers-checkpoint", min_width=150,
        )  # fmt: skip
        probe = gr.Dropdown(
            _probe_choices(PROBE_NAMES), value=USUAL_PROBE, label=_("Kind of question"),
            elem_id="answers-probe", min_width=240,
        )  # fmt: skip
        words = gr.Textbox(
            label=_("Search"), placeholder=_("subject, object, question or answer"), max_lines=1,
            elem_id="answers-search", min_width=200,
        )  # fmt: skip
        only_wrong = gr.Checkbox(
            label=_("Only where the right answer did not come"), elem_id="answers-wrong"
        )
    table = gr.Dataframe(
        headers=[_(head) for head in ANSWER_HEADERS], datatype="str", type="array", value=[],
        column_widths=["12%", "15%", "26%", "14%", "14%", "8%", "11%"], wrap=True,
        interactive=False, max_height=420,
        label=_("Answers"), show_label=False, elem_id="answers-table", buttons=[],
    )  # fmt: skip
    page = gr.State(0)
    with gr.Row(equal_height=True):
        count = gr.Markdown(elem_id="answers-count")
        back = gr.Button(_("‹ Before"), size="sm", min_width=90, scale=0)
        on = gr.Button(_("Next ›"), size="sm", min_width=90, scale=0, elem_id="answers-next")
    return AnswersPanel(checkpoint, probe, only_wrong, words, table, count, page, back, on)


def wire_answers_panel(lab: Lab, run: gr.State, news: Any, panel: AnswersPanel) -> None:
    """Lists answers when the run on show changes, when a filter does, and when a page is turned.

    Args:
        lab: has the registry.
        run: holds the chosen run's id.
        news: a component that changes whenever the run on show, or anything in it, does.
        panel: the panel.
    """
    asked = [run, *panel.filters]
    listing = {
        "fn": bound(first_answers, lab),
        "inputs": asked,
        "outputs": panel.listed,
        "trigger_mode": "always_last",
        **QUIET,
    }
    news.change(
        bound(fit_filters, lab), [run, panel.checkpoint, panel.probe],
        [panel.checkpoint, panel.probe], trigger_mode="always_last", **QUIET,
    ).then(**listing)  # fmt: skip
    gr.on([one.input for one in panel.filters], **listing)
    for button, by in ((panel.back, -1), (panel.on, 1)):
        button.click(bound(turn_answers, lab, by), [*asked, panel.page], panel.listed, **QUIET)


# Handlers ----------------------------------------------------------------------------------------


def fit_filters(lab: Lab, run_id: str | None, checkpoint: str, probe: str) -> list[Any]:
    """The checkpoints and kinds of questions of the run on show; a choice stays where it can.

    Every run can have the three checkpoints and the usual questions. A later lesson has two
    checkpoints, and its questions about the old facts too.

    Raises:
        LabError: the registry can't be read.
    """
    there = list(lab.registry.scores(run_id)) if run_id else []
    lesson = bool(set(there) - set(CHECKPOINTS))
    checkpoints = there if lesson else list(CHECKPOINTS)
    probes = PROBE_NAMES | OLD_PROBE_NAMES if lesson else PROBE_NAMES
    kept = checkpoint if checkpoint in (ALL, *checkpoints) else checkpoints[-1]
    if lesson and probe not in OLD_PROBE_NAMES:  # only the last one was asked about new facts
        kept = checkpoints[-1]
    asked = probe if probe in (ALL, *probes) else USUAL_PROBE
    return [
        gr.Dropdown(choices=_checkpoint_choices(checkpoints), value=kept),
        gr.Dropdown(choices=_probe_choices(probes), value=asked),
    ]


def list_answers(
    lab: Lab, run_id: str | None, checkpoint: str, probe: str, only_wrong: bool, words: str,
    page: int,
) -> list[Any]:  # fmt: skip
    """A page of a run's single answers: rows, the words under them, the page's number.

    Raises:
        LabError: the registry can't be read.
    """
    if not run_id:
        return [sheet(ANSWER_HEADERS, []), "", 0]
    wanted = {
        "checkpoint": checkpoint or None,
        "probe": probe or None,
        "only_wrong": bool(only_wrong),
        "search": words or "",
    }
    total = lab.registry.count_predictions(run_id, **wanted)
    page = page_within(page, total, ANSWER_PAGE)
    rows = answer_cells(lab, run_id, wanted, ANSWER_PAGE, page * ANSWER_PAGE)
    start = page * ANSWER_PAGE
    words = _("{first}–{last} of {total} answers") if total else _("No such answers.")
    said = words.format(first=start + 1, last=start + len(rows), total=f"{total:,}")
    return [sheet(ANSWER_HEADERS, rows), said, page]


def first_answers(lab: Lab, *choice: Any) -> list[Any]:
    """`list_answers` from the first page: the filters have changed."""
    return list_answers(lab, *choice, 0)


def turn_answers(lab: Lab, by: int, *choice: Any) -> list[Any]:
    """`list_answers` some pages further on, or back."""
    return list_answers(lab, *choice[:-1], choice[-1] + by)


def _checkpoint_choices(checkpoints) -> list[tuple[str, str]]:
    return [(_("All"), ALL), *((checkpoint_words(c), c) for c in checkpoints)]


def _probe_choices(names) -> list[tuple[str, str]]:
    return [(_("All kinds"), ALL), *((_(name.long), probe) for probe, name in names.items())]
