"""The sub-tab “Every answer”: the chosen run's answers, filtered, grouped, by pages, and saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS, OLD_PROBE_NAMES, PROBE_NAMES, probe_name
from rotelab.errors import LabError
from rotelab.evaluation.results import OUTCOMES
from rotelab.reports.answers import GROUPINGS, Group, Rows, answer_rows, group_rows, groups_of
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound, checkpoint_words, page_within, sheet
from rotelab.ui.i18n import N_, _, ngettext
from rotelab.ui.runs.detail_html import ANSWER_HEADERS, answer_cells
from rotelab.ui.wording import percent

ANSWER_PAGE = 50
"""Answers, or groups of them, on one page."""
ALL = ""
"""The value of a filter that lets everything through, and of no grouping."""
USUAL_PROBE = "test_prompts_heldout"

OUTCOME_WORDS = {
    "right": N_("Right"), "wrong": N_("Wrong"), "leak": N_("Leaked"), "no-leak": N_("Did not leak"),
}  # fmt: skip
GROUPING_WORDS = {
    "wording": N_("By wording, worst first"),
    "fact": N_("By fact, worst first"),
    "outcome": N_("By outcome"),
}
GROUP_HEADERS = {
    "wording": N_("Wording"), "fact": N_("Fact"), "outcome": N_("Outcome"),
}  # fmt: skip


@dataclass(frozen=True)
class AnswersPanel:
    """The panel's components.

    Args:
        checkpoint: whose answers are listed.
        probe: the kind of question.
        outcome: what became of them; groups count all.
        words: a text that an answer must contain.
        by: what the answers are grouped by.
        table: the answers, or the groups.
        count: says how many there are.
        page: 0-based page of the table.
        back: turns a page back.
        on: turns a page on.
        csv: writes all of them, not this page alone, as CSV.
        json: the same as JSON.
        file: the file that was written.
    """

    checkpoint: gr.Dropdown
    probe: gr.Dropdown
    outcome: gr.Dropdown
    words: gr.Textbox
    by: gr.Dropdown
    table: gr.Dataframe
    count: gr.Markdown
    page: gr.State
    back: gr.Button
    on: gr.Button
    csv: gr.Button
    json: gr.Button
    file: gr.DownloadButton

    @property
    def filters(self) -> list[Any]:
        """The inputs of `first_answers` after the run."""
        return [self.checkpoint, self.probe, self.outcome, self.words, self.by]

    @property
    def listed(self) -> list[Any]:
        """The outputs of `list_answers`."""
        return [self.table, self.count, self.page, self.outcome, self.file]


def build_answers_panel() -> AnswersPanel:
    """Lays out the panel."""
    outcomes = [(_("All"), ALL), *((_(OUTCOME_WORDS[one]), one) for one in OUTCOMES)]
    groupings = [(_("Each answer"), ALL), *((_(GROUPING_WORDS[one]), one) for one in GROUPINGS)]
    with gr.Row(equal_height=True):
        checkpoint = gr.Dropdown(
            _checkpoint_choices(CHECKPOINTS), value="generalized", label=_("Model"),
            elem_id="answers-checkpoint", min_width=140,
        )  # fmt: skip
        probe = gr.Dropdown(
            _probe_choices(PROBE_NAMES), value=USUAL_PROBE, label=_("Kind of question"),
            elem_id="answers-probe", min_width=240,
        )  # fmt: skip
        outcome = gr.Dropdown(
            outcomes, value=ALL, label=_("Outcome"), elem_id="answers-outcome", min_width=130
        )
        by = gr.Dropdown(groupings, value=ALL, label=_("Show"), elem_id="answers-by", min_width=190)
        words = gr.Textbox(
            label=_("Search"), placeholder=_("subject, object, question or answer"), max_lines=1,
            elem_id="answers-search", min_width=180,
        )  # fmt: skip
    table = gr.Dataframe(
        headers=[_(head) for head in ANSWER_HEADERS], datatype="str", type="array", value=[],
        column_widths=["12%", "15%", "26%", "14%", "14%", "8%", "11%"], wrap=True,
        interactive=False, max_height=420,
        label=_("Answers"), show_label=False, elem_id="answers-table", buttons=[],
    )  # fmt: skip
    page = gr.State(0)
    with gr.Row(equal_height=True):
        count = gr.Markdown(elem_id="answers-count")
        back = gr.Button(_("‹ Previous"), size="sm", min_width=90, scale=0)
        on = gr.Button(_("Next ›"), size="sm", min_width=90, scale=0, elem_id="answers-next")
        csv, json = (
            gr.Button(words, size="sm", min_width=130, scale=0, elem_id=f"answers-{kind}")
            for kind, words in (("csv", _("Save as CSV")), ("json", _("Save as JSON")))
        )
        file = gr.DownloadButton(
            _("Download"), visible=False, variant="primary", size="sm", scale=0, min_width=200,
            elem_id="answers-file",
        )  # fmt: skip
    return AnswersPanel(
        checkpoint, probe, outcome, words, by, table, count, page, back, on, csv, json, file
    )


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
    for kind, button in (("csv", panel.csv), ("json", panel.json)):
        button.click(bound(save_answers, lab, kind), asked, panel.file, api_visibility="private")


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
    lab: Lab, run_id: str | None, checkpoint: str, probe: str, outcome: str, words: str,
    by: str, page: int,
) -> list[Any]:  # fmt: skip
    """A page of a run's answers, or of groups of them, in the order of `AnswersPanel.listed`.

    Raises:
        LabError: the registry can't be read.
    """
    rest = [gr.Dropdown(interactive=not by), gr.DownloadButton(visible=False)]
    if not run_id:
        return [sheet(ANSWER_HEADERS, []), "", 0, *rest]
    wanted = _wanted(checkpoint, probe, outcome, words, by)
    if by:
        groups = _groups(lab, run_id, wanted, by)
        total = len(groups)
        page = page_within(page, total, ANSWER_PAGE)
        shown = groups[page * ANSWER_PAGE : (page + 1) * ANSWER_PAGE]
        listed = sheet(group_headers(by), [_group_cells(group, by) for group in shown])
        said = _("{first}–{last} of {total}; answers counted: {n}")
        n = f"{lab.registry.count_predictions(run_id, **wanted):,}"
    else:
        total, n = lab.registry.count_predictions(run_id, **wanted), ""
        page = page_within(page, total, ANSWER_PAGE)
        shown = answer_cells(lab, run_id, wanted, ANSWER_PAGE, page * ANSWER_PAGE)
        listed, said = sheet(ANSWER_HEADERS, shown), _("{first}–{last} of {total} answers")
    if not total:
        said = _("No such answers.")
    first = page * ANSWER_PAGE
    said = said.format(first=first + 1, last=first + len(shown), total=f"{total:,}", n=n)
    return [listed, said, page, *rest]


def first_answers(lab: Lab, *choice: Any) -> list[Any]:
    """`list_answers` from the first page: the filters have changed."""
    return list_answers(lab, *choice, 0)


def turn_answers(lab: Lab, by: int, *choice: Any) -> list[Any]:
    """`list_answers` some pages further on, or back."""
    return list_answers(lab, *choice[:-1], choice[-1] + by)


def save_answers(
    lab: Lab, kind: str, run_id: str | None, checkpoint: str, probe: str, outcome: str,
    words: str, by: str,
) -> Any:  # fmt: skip
    """Writes what the filters let through, all pages of it, as CSV or JSON, and offers the file.

    Raises:
        LabError: there is nothing to write, or the file can't be written.
    """
    rows = (
        _rows(lab, run_id, _wanted(checkpoint, probe, outcome, words, by), by) if run_id else None
    )
    if not run_id or not rows or not rows.rows:
        raise LabError(_("There are no such answers, so there is nothing to save."))
    path = lab.answers_file(run_id, kind)
    # The mark at the beginning tells spreadsheets that it is UTF-8; JSON must not have it.
    text, encoding = (rows.as_csv(), "utf-8-sig") if kind == "csv" else (rows.as_json(), "utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding=encoding, newline="")
    except OSError as error:
        raise LabError(
            f"{path} can't be written ({error.strerror or error}). Free some disk, or check the "
            "folder's permissions."
        ) from error
    said = ngettext("Download {n} row ({kind})", "Download {n} rows ({kind})", len(rows.rows))
    label = said.format(n=f"{len(rows.rows):,}", kind=kind.upper())
    return gr.DownloadButton(label, value=str(path), visible=True)


def group_headers(by: str) -> tuple[str, ...]:
    """The table's headers where answers are grouped; as many as `ANSWER_HEADERS`."""
    share = N_("Share") if by == "outcome" else N_("Good")
    return (
        N_("Model"), N_("Kind of question"), GROUP_HEADERS[by], share, N_("Interval (95 %)"),
        N_("Answers"), N_("Wordings") if by == "fact" else N_("Facts"),
    )  # fmt: skip


def _group_cells(group: Group, by: str) -> list[str]:
    name = {
        "wording": group.key[-1],
        "fact": " → ".join(group.key[1:]),
        "outcome": _(OUTCOME_WORDS.get(group.key[0], "")),
    }[by]
    low, high = (f"{100 * end:.0f}" for end in group.interval)
    return [
        checkpoint_words(group.checkpoint), _(probe_name(group.probe).long), name,
        f"{percent(group.share)} ({group.count}/{group.n})", f"{low}–{high} %", str(group.n),
        str(group.wordings if by == "fact" else group.facts),
    ]  # fmt: skip


def _wanted(checkpoint: str, probe: str, outcome: str, words: str, by: str) -> dict[str, Any]:
    """The filters, as `Registry.predictions` takes them. Groups count every outcome."""
    return {
        "checkpoint": checkpoint or None,
        "probe": probe or None,
        "outcome": None if by else outcome or None,
        "search": words or "",
    }


def _rows(lab: Lab, run_id: str, wanted: dict[str, Any], by: str) -> Rows:
    if by:
        return group_rows(_groups(lab, run_id, wanted, by), by)
    found = lab.registry.predictions(run_id, **wanted, limit=-1)
    return answer_rows(found, lab.registry.run(run_id).pack.prompts)


def _groups(lab: Lab, run_id: str, wanted: dict[str, Any], by: str) -> list[Group]:
    found = lab.registry.predictions(run_id, **wanted, limit=-1)
    return groups_of(found, by, lab.registry.run(run_id).pack.prompts)


def _checkpoint_choices(checkpoints) -> list[tuple[str, str]]:
    return [(_("All"), ALL), *((checkpoint_words(c), c) for c in checkpoints)]


def _probe_choices(names) -> list[tuple[str, str]]:
    return [(_("All kinds"), ALL), *((_(name.long), probe) for probe, name in names.items())]
