"""What the Facts tab is made of, and how a draft is shown in it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from rotelab.facts import synthetic
from rotelab.facts.reading.files import SUFFIXES
from rotelab.runs.lab import Lab
from rotelab.ui.components import ago
from rotelab.ui.facts.draft import Draft, Rows, notes_of
from rotelab.ui.facts.examples import examples_html
from rotelab.ui.facts.html import (
    FILES_EXPLAINED,
    INTRODUCTION,
    ROLES_EXPLAINED,
    SAVE_HINT,
    count_chips,
    example_lines,
    lacks_list,
    note,
    starter_offer,
)
from rotelab.ui.facts.preview import Preview, build_preview
from rotelab.ui.i18n import N_, _, ngettext

NEW_SET = "/new"
"""The choice of an empty set: no set's name has a slash."""
FACT_HEADERS = [N_("Relation"), N_("Subject"), N_("Object"), N_("Also right"), N_("Note")]
PROMPT_HEADERS = [N_("Relation"), N_("Role"), N_("Language"), N_("Text"), N_("Note")]
FACTS_ROWS, PROMPTS_ROWS = "facts-rows", "prompt-rows"
"""Ids of the two inner tabs."""
REPLACE, ADD = N_("replace the table"), N_("be added to it")
TABLE_HEIGHT = 430
TABLE_LOOK = {
    "datatype": "str", "type": "array", "interactive": True, "show_label": False, "wrap": True,
    "show_row_numbers": True, "max_height": TABLE_HEIGHT, "buttons": [],
}  # fmt: skip


@dataclass(frozen=True)
class Head:
    """Above the tables: which set, which version, which relation."""

    pack: gr.Dropdown
    version: gr.Dropdown
    relation: gr.Dropdown
    example: gr.HTML


@dataclass(frozen=True)
class Tables:
    """The two tables and what acts on their rows; `row` is the fact that was clicked.

    `offer` holds what is offered where a relation has no wordings: what is said, and a button.
    """

    tabs: gr.Tabs
    facts: gr.Dataframe
    prompts: gr.Dataframe
    row: gr.State
    add_fact: gr.Button
    delete: gr.Button
    add_prompt: gr.Button
    counts: gr.HTML
    wordings: gr.Tab
    offer: gr.Column
    offered: gr.HTML
    make: gr.Button


@dataclass(frozen=True)
class SaveBox:
    """Where a draft is saved; `stash` is a draft that was set aside unsaved."""

    name: gr.Textbox
    save: gr.Button
    message: gr.HTML
    stash: gr.State
    restore: gr.Button
    train: gr.Button


@dataclass(frozen=True)
class Sources:
    """Where facts come from and go to: invention and files."""

    kind: gr.Dropdown
    count: gr.Number
    seed: gr.Number
    invent: gr.Button
    how: gr.Radio
    upload: gr.UploadButton
    export: gr.Button
    facts_file: gr.DownloadButton
    prompts_file: gr.DownloadButton
    workbook: gr.DownloadButton


@dataclass(frozen=True)
class View:
    """The whole tab."""

    draft: gr.State
    edition: gr.Textbox
    head: Head
    tables: Tables
    saving: SaveBox
    sources: Sources
    preview: Preview

    @property
    def sheet(self) -> list[Any]:
        """What a handler reads: the draft, its edition on the page, the two tables."""
        return [self.draft, self.edition, self.tables.facts, self.tables.prompts]

    @property
    def shown(self) -> list[Any]:
        """What `render` fills, in its order."""
        head, tables, saving, sources = self.head, self.tables, self.saving, self.sources
        return [
            self.draft, self.edition,
            head.pack, head.version, head.relation, head.example,
            tables.tabs, tables.facts, tables.prompts, tables.row, tables.delete, tables.counts,
            saving.name, saving.message, saving.stash, saving.restore,
            sources.facts_file, sources.prompts_file, sources.workbook,
            tables.offer, tables.offered,
        ]  # fmt: skip


def build_view(lab: Lab, draft: Draft) -> View:
    """Lays the tab out.

    Args:
        lab: whose fact sets can be chosen.
        draft: what stands in the tables at first.
    """
    gr.HTML(f'<p class="lead">{_(INTRODUCTION)}</p>', padding=False)
    with gr.Row():
        with gr.Column(scale=7, min_width=560):
            preview = build_preview()
            head = _build_head(lab, draft)
            tables = _build_tables(draft)
        with gr.Column(scale=3, min_width=300):
            saving = _build_save_box(draft)
            sources = _build_sources(draft)
    edition = gr.Textbox(draft.edition, visible=False)
    return View(gr.State(draft), edition, head, tables, saving, sources, preview)


def render(
    lab: Lab,
    draft: Draft,
    message: str | None = None,
    *,
    stash: Draft | None = None,
    tab: str | None = None,
    name: str | None = None,
) -> list[Any]:
    """What fills `View.shown`.

    Args:
        lab: whose fact sets can be chosen.
        draft: what the tables show.
        message: what is said beside Save; None leaves it.
        stash: a draft that can be brought back.
        tab: which of the two tables comes to the front; None leaves it.
        name: what stands under “Save as”; None leaves it.
    """
    draft = replace(draft, edition=secrets.token_hex(8))
    facts_notes, prompts_notes = notes_of(draft)
    versions = version_choices(lab, draft)
    keep = gr.skip()
    return [
        draft,
        draft.edition,
        gr.update(choices=pack_choices(lab), value=draft.name or NEW_SET),
        gr.update(choices=versions, value=draft.version or None, visible=bool(versions)),
        gr.update(
            choices=relation_choices(draft), value=draft.relation, visible=_has_filter(draft)
        ),
        example_lines(draft),
        keep if tab is None else gr.update(selected=tab),
        noted(draft.facts, draft.relation, facts_notes),
        noted(draft.prompts, draft.relation, prompts_notes),
        None,
        gr.update(value=_("Delete a row"), interactive=False),
        count_chips(draft) + lacks_list(draft),
        keep if name is None else name,
        keep if message is None else message,
        stash,
        gr.update(visible=stash is not None),
        *[gr.update(visible=False)] * 3,
        *offer_of(draft),
    ]


def offer_of(draft: Draft) -> list[Any]:
    """What fills `Tables.offer` and `Tables.offered`."""
    said = starter_offer(draft)
    return [gr.update(visible=bool(said)), said]


def noted(rows: Rows, relation: str, notes: dict[int, str]) -> list[list[str]]:
    """The rows that are shown, each with what is to be said about it."""
    return [
        [*row, notes.get(number, "")]
        for number, row in enumerate(rows, 1)
        if not relation or row[0] == relation
    ]


def pack_choices(lab: Lab) -> list[tuple[str, str]]:
    """(label, name) of every fact set, and of an empty one."""
    saved = {row.name for row in lab.registry.fact_sets()}
    names = [
        (f"{name} · {_('saved here') if name in saved else _('comes with rotelab')}", name)
        for name in lab.pack_names()
    ]
    return [*names, (_("New, empty set"), NEW_SET)]


def version_choices(lab: Lab, draft: Draft) -> list[tuple[str, int]]:
    """(label, version) of the versions of the set that is open; none of a shipped one."""
    if not draft.version:
        return []
    return [
        (f"{row.version} · {fact_count(row.facts)} · {ago(row.created)}", row.version)
        for row in lab.registry.fact_sets(draft.name)
    ]


def relation_choices(draft: Draft) -> list[tuple[str, str]]:
    """(label, relation) for the filter."""
    names = (
        (f"{draft.labels.get(name, name)} ({n})", name)
        for name, n in draft.relations.items()
        if name
    )
    return [(_("All relations"), ""), *names]


def fact_count(count: int) -> str:
    """“1 fact”, “20 facts”."""
    return ngettext("{n} fact", "{n} facts", count).format(n=f"{count:,}")


def proposed_name(draft: Draft) -> str:
    """Under what name a draft is saved unless another is given; never a shipped pack's."""
    if draft.version or not draft.name:
        return draft.name
    return _("my {name}").format(name=draft.name)


def _has_filter(draft: Draft) -> bool:
    return len(draft.relations) > 1 or bool(draft.relation)


def _build_head(lab: Lab, draft: Draft) -> Head:
    with gr.Row():
        pack = gr.Dropdown(
            pack_choices(lab), value=draft.name or NEW_SET, label=_("Fact set"), scale=3,
            min_width=200, elem_id="facts-pack",
        )  # fmt: skip
        version = gr.Dropdown(
            [], label=_("Version"), visible=False, scale=2, min_width=180, elem_id="facts-version"
        )
        relation = gr.Dropdown(
            relation_choices(draft), value="", label=_("Show"), visible=_has_filter(draft), scale=2,
            min_width=160, elem_id="facts-relation",
        )  # fmt: skip
    example = gr.HTML(example_lines(draft), padding=False)
    return Head(pack, version, relation, example)


def _build_tables(draft: Draft) -> Tables:
    facts_notes, prompts_notes = notes_of(draft)
    with gr.Tabs() as tabs:
        with gr.Tab(_("Facts"), id=FACTS_ROWS):
            facts = gr.Dataframe(
                noted(draft.facts, "", facts_notes),
                headers=list(map(_, FACT_HEADERS)),
                label=_("Facts"),
                column_count=len(FACT_HEADERS),
                static_columns=[4],
                elem_id="facts-table",
                column_widths=["12%", "22%", "22%", "14%", "24%"],
                **TABLE_LOOK,
            )
            with gr.Row():
                add_fact = gr.Button(_("Add a row"), size="md", elem_id="facts-add")
                delete = gr.Button(
                    _("Delete a row"), size="md", interactive=False, elem_id="facts-delete"
                )
        with gr.Tab(_("Wordings"), id=PROMPTS_ROWS) as wordings:
            offer = starter_offer(draft)
            with gr.Column(visible=bool(offer), elem_id="facts-starter") as offer_box:
                offered = gr.HTML(offer, padding=False)
                make = gr.Button(
                    _("Make a starter set"), variant="primary", size="md",
                    elem_id="facts-starter-make",
                )  # fmt: skip
            gr.HTML(f'<p class="hint">{_(ROLES_EXPLAINED)}</p>', padding=False)
            prompts = gr.Dataframe(
                noted(draft.prompts, "", prompts_notes), headers=list(map(_, PROMPT_HEADERS)),
                label=_("Wordings"), column_count=len(PROMPT_HEADERS), static_columns=[4],
                elem_id="prompts-table", column_widths=["13%", "12%", "12%", "42%", "15%"],
                **TABLE_LOOK,
            )  # fmt: skip
            add_prompt = gr.Button(_("Add a wording"), size="md", elem_id="prompts-add")
    words = count_chips(draft) + lacks_list(draft)
    counts = gr.HTML(words, padding=False, elem_id="facts-counts")
    return Tables(
        tabs, facts, prompts, gr.State(None), add_fact, delete, add_prompt, counts, wordings,
        offer_box, offered, make,
    )  # fmt: skip


def _build_save_box(draft: Draft) -> SaveBox:
    with gr.Group():
        name = gr.Textbox(
            value=proposed_name(draft), label=_("Save as"), max_length=60, elem_id="facts-name",
            placeholder=_("a name, such as: our class"),
        )  # fmt: skip
        save = gr.Button(_("Save"), variant="primary", elem_id="facts-save")
    message = gr.HTML(note("", _(SAVE_HINT)), padding=False, elem_id="facts-message")
    restore = gr.Button(
        _("Bring back my unsaved changes"), visible=False, size="md", elem_id="facts-restore"
    )
    train = gr.Button(_("Train with these facts →"), size="lg", elem_id="facts-train")
    return SaveBox(name, save, message, gr.State(None), restore, train)


def _build_sources(draft: Draft) -> Sources:
    with gr.Accordion(_("Invent more facts"), open=False):
        kind = gr.Dropdown(
            [(name.replace("_", " "), name) for name in synthetic.RELATIONS], label=_("Relation"),
            value=next((r for r in draft.relations if r in synthetic.RELATIONS), "mother"),
            info=_("What the new facts are about."),
        )  # fmt: skip
        with gr.Row():
            count = gr.Number(
                20, label=_("How many"), precision=0, minimum=1, min_width=110,
                info=_("Added at the end."),
            )  # fmt: skip
            seed = gr.Number(
                0, label=_("Seed"), precision=0, min_width=110, info=_("Other number, other names.")
            )
        invent = gr.Button(_("Invent"), size="md", elem_id="facts-invent")
    with gr.Accordion(_("Files: import, export"), open=False, elem_id="facts-files"):
        how = gr.Radio(
            [(_(REPLACE), REPLACE), (_(ADD), ADD)], value=REPLACE, label=_("An imported file will")
        )
        upload = gr.UploadButton(
            _("Choose a file"), file_types=list(SUFFIXES), type="filepath", size="md",
            elem_id="facts-import",
        )  # fmt: skip
        gr.HTML(f'<p class="hint">{_(FILES_EXPLAINED)}</p>{examples_html()}', padding=False)
        export = gr.Button(_("Export both tables"), size="md", elem_id="facts-export")
        facts_file = gr.DownloadButton(_("Facts"), visible=False, size="md", elem_id="facts-csv")
        prompts_file = gr.DownloadButton(
            _("Wordings"), visible=False, size="md", elem_id="prompts-csv"
        )
        workbook = gr.DownloadButton(
            _("Both in one"), visible=False, size="md", elem_id="facts-xlsx"
        )
    return Sources(
        kind, count, seed, invent, how, upload, export, facts_file, prompts_file, workbook
    )
