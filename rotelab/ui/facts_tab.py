"""The Facts tab: choose, write, invent, import and save what the model is to learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from rotelab import fiction
from rotelab.errors import InputError, LabError
from rotelab.lab import Lab
from rotelab.packs import shipped_packs
from rotelab.ui.common import ago, bound
from rotelab.ui.draft import (
    FACTS_TABLE,
    PROMPTS_TABLE,
    Draft,
    export_csv,
    import_file,
    invent_into,
    notes_of,
    open_draft,
    save_draft,
    with_wordings,
)
from rotelab.ui.facts_words import (
    INTRODUCTION,
    ROLES_EXPLAINED,
    changed_note,
    count_chips,
    example_lines,
    note,
    plural,
    saved_note,
)

FIRST_PACK = "mother"
FACT_HEADERS = ["relation", "subject", "object", "Note"]
PROMPT_HEADERS = ["relation", "role", "language", "text", "Note"]
REPLACE, ADD = "Replace the table", "Add to the table"
TABLE_HEIGHT = 430
SAVE_HINT = "Change what you like: nothing is kept until you save, and no version is overwritten."
RESTORED = "Your unsaved changes are back."


@dataclass(frozen=True)
class FactsTab:
    """The components that the other tabs and the tests need.

    Args:
        pack: which set is open.
        saved: name of the set that was just saved.
        train: the button that goes on to training with the open set.
        tables: what `name_to_train` is told: the draft and the two tables.
        refresh_outputs: what `refresh` updates.
    """

    pack: gr.Dropdown
    saved: gr.State
    train: gr.Button
    tables: list[Any]
    refresh_outputs: list[Any]


@dataclass(frozen=True)
class _View:
    """All components that show a draft, in the order in which `_render` updates them."""

    draft: gr.State
    pack: gr.Dropdown
    version: gr.Dropdown
    relation: gr.Dropdown
    counts: gr.HTML
    example: gr.HTML
    tables: gr.Tabs
    facts: gr.Dataframe
    prompts: gr.Dataframe
    message: gr.HTML
    row: gr.State
    delete: gr.Button
    stash: gr.State
    restore: gr.Button

    @property
    def all(self) -> list[Any]:
        """The components as a list of outputs."""
        return [getattr(self, name) for name in self.__dataclass_fields__]


def build_facts_tab(lab: Lab) -> FactsTab:
    """Builds the tab inside the current `gr.Tab`.

    Args:
        lab: where packs and fact sets are.
    """
    draft = _first_draft(lab)
    gr.HTML(INTRODUCTION, padding=False)
    with gr.Row():
        with gr.Column(scale=7, min_width=560):
            pack, version, relation, example = _head(lab, draft)
            tables, facts, prompts, row, add_fact, add_prompt, delete = _tables(draft)
            counts = gr.HTML(count_chips(draft), padding=False)
        with gr.Column(scale=3, min_width=300):
            name, save, message, restore, train = _save_box(draft)
            invent = _invent_box()
            upload, exporting = _files_box()
    view = _View(
        gr.State(draft), pack, version, relation, counts, example, tables, facts, prompts,
        message, row, delete, gr.State(None), restore,
    )  # fmt: skip
    saved = gr.State("")
    _wire_choice(lab, view, name)
    _wire_rows(lab, view, add_fact, add_prompt)
    _wire_save(lab, view, name, save, saved)
    _wire_sources(lab, view, invent, upload, exporting)
    return FactsTab(pack, saved, train, [view.draft, facts, prompts], [pack])


def refresh(lab: Lab):
    """The list of fact sets anew: another browser, or the command line, may have saved one."""
    return gr.update(choices=_pack_choices(lab))


def name_to_train(draft: Draft, facts, prompts) -> str:
    """The name under which a run finds the open set.

    Raises:
        LabError: it has changes that are not saved, or is not the newest version.
    """
    draft = draft.edited(facts, prompts)
    if draft.changed or not draft.name:
        raise LabError("Your changes are not saved yet. Press Save first, then train with them.")
    if draft.version != draft.newest:
        raise LabError(
            f"Version {draft.version} is open, but training takes the newest, {draft.newest}. "
            "Press Save to make this one the newest, or open that one."
        )
    return draft.name


# Building ----------------------------------------------------------------------------------------


def _head(lab: Lab, draft: Draft):
    with gr.Row():
        pack = gr.Dropdown(
            _pack_choices(lab),
            value=draft.name,
            label="Fact set",
            scale=3,
            min_width=200,
            elem_id="facts-pack",
        )
        version = gr.Dropdown([], label="Version", visible=False, scale=2, min_width=180)
        relation = gr.Dropdown(
            _relation_choices(draft),
            value="",
            label="Show",
            visible=len(draft.relations) > 1,
            scale=2,
            min_width=160,
            elem_id="facts-relation",
        )
    example = gr.HTML(example_lines(draft), padding=False)
    return pack, version, relation, example


def _tables(draft: Draft):
    facts_note, prompts_note = notes_of(draft)
    look = {
        "type": "array", "interactive": True, "show_label": False, "wrap": True,
        "show_row_numbers": True, "max_height": TABLE_HEIGHT, "buttons": [],
    }  # fmt: skip
    with gr.Tabs() as tables:
        with gr.Tab("Facts", id="facts-rows"):
            facts = gr.Dataframe(
                _noted(draft.facts, draft.relation, facts_note), headers=FACT_HEADERS,
                datatype="str", column_count=len(FACT_HEADERS), static_columns=[3],
                column_widths=["15%", "27%", "27%", "31%"], elem_id="facts-table",
                label="Facts", **look,
            )  # fmt: skip
            with gr.Row():
                add_fact = gr.Button("Add a row", size="md", elem_id="facts-add")
                delete = gr.Button(
                    "Delete a row", size="md", interactive=False, elem_id="facts-delete"
                )
        with gr.Tab("Wordings", id="prompt-rows"):
            gr.HTML(ROLES_EXPLAINED, padding=False)
            prompts = gr.Dataframe(
                _noted(draft.prompts, draft.relation, prompts_note), headers=PROMPT_HEADERS,
                datatype="str", column_count=len(PROMPT_HEADERS), static_columns=[4],
                column_widths=["13%", "12%", "13%", "44%", "18%"], elem_id="prompts-table",
                label="Wordings", **look,
            )  # fmt: skip
            add_prompt = gr.Button("Add a wording", size="md", elem_id="prompts-add")
    return tables, facts, prompts, gr.State(None), add_fact, add_prompt, delete


def _save_box(draft: Draft):
    with gr.Group():
        name = gr.Textbox(
            value=_proposed_name(draft), label="Save as", max_length=60, elem_id="facts-name"
        )
        save = gr.Button("Save", variant="primary", elem_id="facts-save")
    message = gr.HTML(note("", SAVE_HINT), padding=False, elem_id="facts-message")
    restore = gr.Button("Bring back my unsaved changes", visible=False, size="md")
    train = gr.Button("Train with these facts →", size="lg", elem_id="facts-train")
    return name, save, message, restore, train


def _invent_box():
    with gr.Accordion("Invent more facts", open=False):
        kind = gr.Dropdown(
            [(name.replace("_", " "), name) for name in fiction.RELATIONS],
            value=FIRST_PACK, label="Relation",
        )  # fmt: skip
        with gr.Row():
            count = gr.Number(20, label="How many", precision=0, minimum=1, min_width=90)
            seed = gr.Number(
                0, label="Seed", precision=0, min_width=90,
                info="Another number, other names.",
            )  # fmt: skip
        button = gr.Button("Invent", elem_id="facts-invent")
    return button, kind, count, seed


def _files_box():
    with gr.Accordion("CSV files: import, export", open=False):
        how = gr.Radio([REPLACE, ADD], value=REPLACE, show_label=False, label="Import")
        relation = gr.Textbox(
            label="Relation", placeholder="mother", elem_id="facts-import-relation",
            info="Only for the paper's own files (Head, Fact, Alternate Facts): they name none.",
        )  # fmt: skip
        upload = gr.UploadButton(
            "Import a CSV file", file_types=[".csv"], type="filepath", elem_id="facts-import"
        )
        export = gr.Button("Export both tables", elem_id="facts-export")
        facts = gr.DownloadButton("Download facts", visible=False, elem_id="facts-csv")
        prompts = gr.DownloadButton("Download wordings", visible=False, elem_id="prompts-csv")
    return (upload, relation, how), (export, facts, prompts)


# Wiring ------------------------------------------------------------------------------------------

PRIVATE = {"api_visibility": "private"}
QUIET = {"show_progress": "hidden", **PRIVATE}


def _wire_choice(lab: Lab, view: _View, name: gr.Textbox) -> None:
    tables = [view.draft, view.facts, view.prompts]
    outputs = [*view.all, name]
    view.pack.input(bound(_open, lab), [*tables, view.stash, view.pack], outputs, **QUIET)
    view.version.input(
        bound(_open, lab), [*tables, view.stash, view.pack, view.version], outputs, **QUIET
    )
    view.relation.input(bound(_filter, lab), [*tables, view.relation], view.all, **QUIET)
    view.restore.click(bound(_restore, lab), [*tables, view.stash], outputs, **QUIET)


def _wire_rows(lab: Lab, view: _View, add_fact: gr.Button, add_prompt: gr.Button) -> None:
    tables = [view.draft, view.facts, view.prompts]
    view.facts.select(bound(_selected), None, [view.row, view.delete], **QUIET)
    view.delete.click(bound(_delete, lab), [*tables, view.row], view.all, **QUIET)
    add_fact.click(bound(_add_fact, lab), tables, view.all, **QUIET)
    add_prompt.click(bound(_add_prompt, lab), tables, view.all, **QUIET)
    for table in (view.facts, view.prompts):
        table.input(bound(_edited), view.message, view.message, **QUIET)


def _wire_save(lab: Lab, view: _View, name: gr.Textbox, save: gr.Button, saved: gr.State) -> None:
    tables = [view.draft, view.facts, view.prompts]
    inputs, outputs = [*tables, name, saved], [*view.all, name, saved]
    gr.on([save.click, name.submit], bound(_save, lab), inputs, outputs, **PRIVATE)


def _wire_sources(lab: Lab, view: _View, invent, upload, exporting) -> None:
    tables = [view.draft, view.facts, view.prompts]
    button, kind, count, seed = invent
    button.click(bound(_invent, lab), [*tables, kind, count, seed], view.all, **PRIVATE)
    chooser, relation, how = upload
    chooser.upload(
        bound(_import, lab), [*tables, view.stash, chooser, relation, how], view.all, **PRIVATE
    )
    export, facts, prompts = exporting
    export.click(bound(_export, lab), tables, [facts, prompts], **PRIVATE)


# Handlers ----------------------------------------------------------------------------------------


def _open(lab: Lab, draft, facts, prompts, stash, name, version=None):
    """Opens a set. Unsaved changes are set aside, not lost."""
    draft = draft.edited(facts, prompts)
    if draft.changed:
        stash = draft
    message = note("", SAVE_HINT)
    if stash is draft:
        message = note("warn", f"Your unsaved changes to “{draft.name or 'the new set'}” are kept.")
    opened = open_draft(lab, name, version)
    return *_render(lab, opened, message, stash=stash), _proposed_name(opened)


def _restore(lab: Lab, draft, facts, prompts, stash):
    draft = draft.edited(facts, prompts)
    if stash is None:
        return gr.skip()
    other = draft if draft.changed else None
    return *_render(lab, stash, note("", RESTORED), stash=other), _proposed_name(stash)


def _filter(lab: Lab, draft, facts, prompts, relation):
    draft = replace(draft.edited(facts, prompts), relation=relation or "")
    return _render(lab, draft)


def _selected(event: gr.SelectData):
    """Remembers the row that was clicked: its place, and what it says in case rows were sorted."""
    place, values = event.index[0], tuple(event.row_value[:3])
    return (place, values), gr.update(value=f"Delete row {place + 1}", interactive=True)


def _edited(message: str):
    """Says that something is unsaved; an error stays until the next save."""
    return gr.skip() if "note-bad" in (message or "") else note("", changed_note())


def _delete(lab: Lab, draft, facts, prompts, row):
    draft = draft.edited(facts, prompts)
    if row is None:
        return gr.skip()
    place, values = row
    here = [i for i, r in enumerate(draft.facts) if not draft.relation or r[0] == draft.relation]
    gone = here[place] if place < len(here) and draft.facts[here[place]] == values else None
    if gone is None:
        gone = next((i for i in here if draft.facts[i] == values), None)
    if gone is None:
        raise LabError("That row has changed. Click it again, then delete it.")
    kept = draft.facts[:gone] + draft.facts[gone + 1 :]
    subject = values[1] or "The empty row"
    return _render(lab, replace(draft, facts=kept), note("", f"{subject} is out; not saved yet."))


def _add_fact(lab: Lab, draft, facts, prompts):
    draft = draft.edited(facts, prompts)
    relation = draft.relation or next(iter(draft.relations), FIRST_PACK)
    # On top, where it is seen at once.
    draft = replace(draft, facts=((relation, "", ""), *draft.facts))
    return _render(lab, draft, note("", "Row 1 is new: double-click its cells and type."))


def _add_prompt(lab: Lab, draft, facts, prompts):
    draft = draft.edited(facts, prompts)
    relation = draft.relation or next(iter(draft.relations), FIRST_PACK)
    draft = replace(draft, prompts=((relation, "train", "en", ""), *draft.prompts))
    return _render(lab, draft, note("", "Row 1 is new: its text needs {subject} once."))


def _save(lab: Lab, draft, facts, prompts, name, saved):
    draft, added = with_wordings(draft.edited(facts, prompts))
    try:
        draft, is_new = save_draft(lab, draft, name or "")
    except LabError as error:
        return *_failed(lab, draft, error), gr.skip(), saved
    doubtful = len(notes_of(draft)[0])
    message = saved_note(draft, is_new, doubtful, added)
    return *_render(lab, draft, message), draft.name, draft.name


def _invent(lab: Lab, draft, facts, prompts, kind, count, seed):
    draft = draft.edited(facts, prompts)
    try:
        draft = invent_into(draft, kind, int(count or 0), int(seed or 0))
    except LabError as error:
        return _failed(lab, draft, error)
    draft, added = with_wordings(draft)
    words = f"{plural(int(count), 'fact')} invented, at the end of the table; not saved yet."
    return _render(lab, draft, note("good", words, _wordings_added(added)))


def _import(lab: Lab, draft, facts, prompts, stash, path, relation, how):
    before = draft.edited(facts, prompts)
    try:
        draft, count, what = import_file(before, path, relation or "", how == ADD)
    except LabError as error:
        return _failed(lab, before, error)
    draft, added = with_wordings(draft)
    words = f"{plural(count, what[:-1])} imported; not saved yet."
    stash = before if before.changed and how == REPLACE else stash
    tab = "facts-rows" if what == "facts" else "prompt-rows"
    message = note("good", words, _wordings_added(added))
    return _render(lab, draft, message, stash=stash, tab=tab)


def _export(lab: Lab, draft, facts, prompts):
    paths = export_csv(lab, draft.edited(facts, prompts))
    return tuple(
        gr.update(value=str(path), label=f"Download {path.name}", visible=True) for path in paths
    )


# Showing -----------------------------------------------------------------------------------------


def _failed(lab: Lab, draft: Draft, error: LabError):
    """Shows what is wrong; all rows, so that the row it names is there by its number."""
    tab = None
    if isinstance(error, InputError) and error.row and error.source in (FACTS_TABLE, PROMPTS_TABLE):
        draft = replace(draft, relation="")
        tab = "facts-rows" if error.source == FACTS_TABLE else "prompt-rows"
    return _render(lab, draft, note("bad", str(error)), tab=tab)


def _render(lab: Lab, draft: Draft, message: Any = None, stash: Any = None, tab: str | None = None):
    """Updates for `_View.all`. What is not said stays: message, stash and the open table."""
    facts_note, prompts_note = notes_of(draft)
    versions = lab.registry.fact_sets(draft.name) if draft.version else []
    return (
        draft,
        gr.update(choices=_pack_choices(lab), value=draft.name or None),
        gr.update(
            choices=[
                (f"{v.version} · {plural(v.facts, 'fact')} · {ago(v.created)}", v.version)
                for v in versions
            ],
            value=draft.version or None,
            visible=bool(versions),
        ),
        gr.update(
            choices=_relation_choices(draft),
            value=draft.relation,
            visible=len(draft.relations) > 1 or bool(draft.relation),
        ),
        count_chips(draft),
        example_lines(draft),
        gr.skip() if tab is None else gr.update(selected=tab),
        _noted(draft.facts, draft.relation, facts_note),
        _noted(draft.prompts, draft.relation, prompts_note),
        gr.skip() if message is None else message,
        None,
        gr.update(value="Delete a row", interactive=False),
        gr.skip() if stash is None else stash,
        gr.skip() if stash is None else gr.update(visible=True),
    )


def _noted(rows: Sequence, relation: str, notes: dict[int, str]) -> list[list[str]]:
    """The rows that are shown, each with what is to be said about it."""
    return [
        [*row, notes.get(number, "")]
        for number, row in enumerate(rows, 1)
        if not relation or row[0] == relation
    ]


def _first_draft(lab: Lab) -> Draft:
    names = shipped_packs()
    if not names:
        return Draft()
    return open_draft(lab, FIRST_PACK if FIRST_PACK in names else names[0])


def _pack_choices(lab: Lab) -> list[tuple[str, str]]:
    saved = {row.name for row in lab.registry.fact_sets()}
    return [
        (f"{name} · saved here" if name in saved else f"{name} · comes with rotelab", name)
        for name in lab.pack_names()
    ]


def _relation_choices(draft: Draft) -> list[tuple[str, str]]:
    counts = draft.relations
    return [
        ("All relations", ""),
        *((f"{name} ({count})", name) for name, count in counts.items() if name),
    ]


def _proposed_name(draft: Draft) -> str:
    return draft.name if draft.version or not draft.name else f"my {draft.name}"


def _wordings_added(relations: Sequence[str]) -> str:
    if not relations:
        return ""
    return f"The wordings for {', '.join(relations)} were added from the packs of rotelab."
