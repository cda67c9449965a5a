"""The Facts tab: choose, write, invent, import and save what the model is to learn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from rotelab.errors import InputError, LabError
from rotelab.facts.packs import WordingMissing, shipped_packs
from rotelab.facts.reading.relations import relation_of
from rotelab.runs.lab import Lab
from rotelab.ui.components import ONCE, bound
from rotelab.ui.facts.draft import (
    FACT_CELLS,
    FACTS_TABLE,
    PROMPTS_TABLE,
    Draft,
    empty_draft,
    invent_into,
    notes_of,
    now,
    open_draft,
    save_draft,
    with_wordings,
)
from rotelab.ui.facts.export import export_files
from rotelab.ui.facts.html import (
    CHANGED,
    NEW_HINT,
    RESTORED,
    SAVE_HINT,
    kept_note,
    note,
    saved_note,
    taken_note,
    wordings_added,
)
from rotelab.ui.facts.incoming import taken
from rotelab.ui.facts.layout import (
    ADD,
    FACTS_ROWS,
    NEW_SET,
    PROMPTS_ROWS,
    View,
    build_view,
    fact_count,
    pack_choices,
    proposed_name,
    render,
)
from rotelab.ui.facts.preview import as_chosen, look, look_again, render_preview
from rotelab.ui.facts.starter_panel import lacking, wire_starter
from rotelab.ui.i18n import _
from rotelab.ui.tables.cell_edits import cell_edits

FIRST_PACK = "mother"
PROMPT_CELLS = 4
"""Cells of a wording that can be typed into."""
TABLE_TABS = {FACTS_TABLE: FACTS_ROWS, PROMPTS_TABLE: PROMPTS_ROWS}
"""In which inner tab a table is, by its name in errors."""
PRIVATE = {"api_visibility": "private"}


@dataclass(frozen=True)
class FactsTab:
    """The components that the other tabs and the tests need.

    Args:
        pack: which set is open.
        saved: name of the set that was just saved.
        train: the button that goes on to training with the open set.
        sheet: what `name_to_train` is told: the draft, its edition and the two tables.
        refresh_outputs: what `refresh` updates.
    """

    pack: gr.Dropdown
    saved: gr.State
    train: gr.Button
    sheet: list[Any]
    refresh_outputs: list[Any]


def build_facts_tab(lab: Lab) -> FactsTab:
    """Builds the tab inside the current `gr.Tab`.

    Args:
        lab: where packs and fact sets are.
    """
    names = shipped_packs()
    first = FIRST_PACK if FIRST_PACK in names else next(iter(names), None)
    view = build_view(lab, open_draft(lab, first) if first else Draft())
    saved = gr.State("")
    _wire_choice(lab, view)
    _wire_rows(lab, view)
    _wire_save(lab, view, saved)
    _wire_sources(lab, view)
    _wire_preview(lab, view)
    return FactsTab(view.head.pack, saved, view.saving.train, view.sheet, [view.head.pack])


def refresh(lab: Lab):
    """The list of fact sets anew: another browser, or the command line, may have saved one.

    Raises:
        LabError: the registry can't be read.
    """
    return gr.update(choices=pack_choices(lab))


def name_to_train(draft: Draft, edition: str, facts, prompts) -> str:
    """The name under which a run finds the open set.

    Raises:
        LabError: it has changes that are not saved, or is not the newest version.
    """
    draft = now(draft, edition, facts, prompts)
    if draft.changed or not draft.name:
        raise LabError(_("Your changes are not saved yet. Press Save first, then train with them."))
    if draft.version != draft.newest:
        raise LabError(
            _(
                "Version {version} is open, but training takes the newest, {newest}. Press Save to "
                "make this one the newest, or open that one."
            ).format(version=draft.version, newest=draft.newest)
        )
    return draft.name


# Wiring ------------------------------------------------------------------------------------------


# `ONCE` throughout: a second click while the first is at work would find the tables half changed.


def _wire_choice(lab: Lab, view: View) -> None:
    sheet, stash, head = view.sheet, view.saving.stash, view.head
    head.pack.input(bound(open_set, lab), [*sheet, stash, head.pack], view.shown, **ONCE)
    head.version.input(
        bound(open_set, lab), [*sheet, stash, head.pack, head.version], view.shown, **ONCE
    )
    head.relation.input(bound(show_relation, lab), [*sheet, stash, head.relation], view.shown,
        **ONCE,
    )  # fmt: skip
    view.saving.restore.click(bound(restore, lab), [*sheet, stash], view.shown, **ONCE)


def _wire_rows(lab: Lab, view: View) -> None:
    tables, sources = view.tables, view.sources
    sheet = [*view.sheet, view.saving.stash]
    latest = {**ONCE, "trigger_mode": "always_last"}  # the row clicked last is the one meant
    tables.facts.select(bound(choose_row), None, [tables.row, tables.delete], **latest)
    tables.delete.click(bound(delete_row, lab), [*sheet, tables.row], view.shown, **ONCE)
    tables.add_fact.click(bound(add_fact, lab), sheet, view.shown, **ONCE)
    tables.add_prompt.click(bound(add_prompt, lab), sheet, view.shown, **ONCE)
    stale = [
        view.saving.message, sources.facts_file, sources.prompts_file, sources.workbook,
    ]  # fmt: skip
    changes = [
        cell_edits(tables.facts, "facts-table", len(FACT_CELLS), carried=[0]).success,
        cell_edits(tables.prompts, "prompts-table", PROMPT_CELLS, carried=[0, 1, 2]).success,
        tables.facts.input, tables.prompts.input,
    ]  # fmt: skip
    for changed in changes:
        changed(bound(say_changed), view.saving.message, stale, **ONCE)


def _wire_save(lab: Lab, view: View, saved: gr.State) -> None:
    box = view.saving
    inputs = [*view.sheet, box.stash, box.name, saved]
    press = [box.save.click, box.name.submit]
    done = gr.on(
        press, bound(save, lab), inputs, [*view.shown, saved], trigger_mode="once", **PRIVATE
    )
    wire_starter(lab, view, done)


def _wire_sources(lab: Lab, view: View) -> None:
    sheet, box = [*view.sheet, view.saving.stash], view.sources
    busy = {"trigger_mode": "once", **PRIVATE}
    box.invent.click(
        bound(invent, lab), [*sheet, box.kind, box.count, box.seed], view.shown, **busy
    )
    files = [box.facts_file, box.prompts_file, box.workbook]
    box.export.click(bound(export, lab), view.sheet, files, **busy)


def _wire_preview(lab: Lab, view: View) -> None:
    preview, busy = view.preview, {"trigger_mode": "once", **PRIVATE}
    view.sources.upload.upload(
        bound(look), view.sources.upload, [view.saving.message, *preview.shown], **busy
    )
    choose = [
        *(column.input for column in preview.columns), preview.relation.submit,
        preview.relation.blur, preview.further.input, preview.take.submit, preview.take.blur,
        preview.mend.input, preview.encoding.input,
    ]  # fmt: skip
    latest = {**ONCE, "trigger_mode": "always_last"}
    gr.on(choose, bound(look_again), preview.choices, preview.shown, **latest)
    sheet = [*view.sheet, view.saving.stash, view.sources.how, *preview.choices]
    preview.accept.click(bound(take_in, lab), sheet, [*view.shown, *preview.shown], **busy)
    preview.cancel.click(bound(put_away), None, preview.shown, **busy)


# Handlers ----------------------------------------------------------------------------------------


def open_set(lab: Lab, draft, edition, facts, prompts, stash, name, version=None):
    """Opens a set. Unsaved changes are set aside, not lost.

    Raises:
        LabError: there is no such set or version.
    """
    # A dropdown says twice what was chosen: when it is clicked, and when it loses the focus.
    if name == (draft.name or NEW_SET) and version in (None, draft.version):
        return gr.skip()  # stands for all of them
    draft = now(draft, edition, facts, prompts)
    if draft.changed:
        stash = draft
    if name == NEW_SET:
        opened, hint = empty_draft(FIRST_PACK), NEW_HINT
    else:
        opened, hint = open_draft(lab, name, version), SAVE_HINT
    message = note("warn", kept_note(draft)) if stash is draft else note("", _(hint))
    return render(lab, opened, message, stash=stash, name=proposed_name(opened), tab=FACTS_ROWS)


def restore(lab: Lab, draft, edition, facts, prompts, stash):
    """Brings back what was set aside; what stands there unsaved is set aside in its place."""
    draft = now(draft, edition, facts, prompts)
    other = draft if draft.changed else None
    return render(lab, stash, note("", _(RESTORED)), stash=other, name=proposed_name(stash))


def show_relation(lab: Lab, draft, edition, facts, prompts, stash, relation):
    """Shows one relation, or all."""
    if (relation or "") == draft.relation:
        return gr.skip()  # stands for all of them
    draft = replace(now(draft, edition, facts, prompts), relation=relation or "")
    return render(lab, draft, stash=stash)


def choose_row(event: gr.SelectData):
    """Remembers the row that was clicked: its place, and what it says in case rows were sorted."""
    place, values = event.index[0], tuple(event.row_value[: len(FACT_CELLS)])
    return (place, values), gr.update(
        value=_("Delete row {n}").format(n=place + 1), interactive=True
    )


def delete_row(lab: Lab, draft, edition, facts, prompts, stash, row):
    """Takes the row that was clicked out of the table.

    Raises:
        LabError: it says something else by now.
    """
    draft = now(draft, edition, facts, prompts)
    place, values = row
    here = [i for i, r in enumerate(draft.facts) if not draft.relation or r[0] == draft.relation]
    alike = [i for i in here if draft.facts[i] == values]
    if not alike:
        raise LabError(_("That row has changed. Click it again, then delete it."))
    gone = here[place] if place < len(here) and here[place] in alike else alike[0]
    kept = draft.facts[:gone] + draft.facts[gone + 1 :]
    words = _("The row is deleted; not saved yet.")
    if values[1]:
        words = _("“{subject}” is deleted; not saved yet.").format(subject=values[1])
    return render(lab, replace(draft, facts=kept), note("", words), stash=stash)


def add_fact(lab: Lab, draft, edition, facts, prompts, stash):
    """Adds an empty row on top, where it is seen at once."""
    draft = now(draft, edition, facts, prompts)
    empty = (_relation_of(draft), *[""] * (len(FACT_CELLS) - 1))
    draft = replace(draft, facts=(empty, *draft.facts))
    words = _("Row 1 is new: click its cells and type.")
    return render(lab, draft, note("", words), stash=stash)


def add_prompt(lab: Lab, draft, edition, facts, prompts, stash):
    """Adds an empty wording on top."""
    draft = now(draft, edition, facts, prompts)
    draft = replace(draft, prompts=((_relation_of(draft), "train", "en", ""), *draft.prompts))
    words = _("Row 1 is new: write its text, with {subject} in it once.")
    return render(lab, draft, note("", words), stash=stash)


def say_changed(message: str):
    """Says that something is unsaved, unless an error stands there; older exports are outdated."""
    said = gr.skip() if "note-bad" in (message or "") else note("", _(CHANGED))
    return said, *[gr.update(visible=False)] * 3


def save(lab: Lab, draft, edition, facts, prompts, stash, name, saved):
    """Saves a version, or shows what is wrong with the table as it stands."""
    draft, added = with_wordings(now(draft, edition, facts, prompts))
    try:
        draft, is_new = save_draft(lab, draft, name or "")
    except LabError as error:
        return [*_failed(lab, draft, stash, error), saved]
    message = saved_note(draft, is_new, len(notes_of(draft)[0]), added)
    return [*render(lab, draft, message, stash=stash, name=draft.name), draft.name]


def invent(lab: Lab, draft, edition, facts, prompts, stash, kind, count, seed):
    """Adds invented facts."""
    draft = now(draft, edition, facts, prompts)
    try:
        draft = invent_into(draft, kind, int(count or 0), int(seed or 0))
    except LabError as error:
        return _failed(lab, draft, stash, error)
    draft, added = with_wordings(draft)
    words = _("{facts} invented, at the end of the table; not saved yet.").format(
        facts=fact_count(int(count))
    )
    return render(
        lab, draft, note("good", words, wordings_added(added)), stash=stash, tab=FACTS_ROWS
    )


def take_in(lab: Lab, draft, edition, facts, prompts, stash, how, *choices):
    """Puts an uploaded file's rows into the tables, which are not saved by that.

    `choices` are those of the preview as they stand now.

    Raises:
        LabError: the file can't be taken in as things are chosen.
    """
    before, incoming = now(draft, edition, facts, prompts), as_chosen(*choices)
    came = taken(before, incoming, how == ADD)
    if before.changed and how != ADD:
        stash = before
    tab = FACTS_ROWS if came.facts else PROMPTS_ROWS
    other = how != ADD and came.facts and not before.relations.keys() & came.draft.relations.keys()
    # Other facts than before: saved under the name of those, they would be taken for them.
    name = _("my {name}").format(name=relation_of(incoming.main.source)) if other else None
    shown = render(lab, came.draft, taken_note(came), stash=stash, tab=tab, name=name)
    return [*shown, *render_preview(None)]


def put_away():
    """Forgets an uploaded file."""
    return render_preview(None)


def export(lab: Lab, draft, edition, facts, prompts):
    """Writes both tables as they stand, and offers the files.

    Raises:
        LabError: they can't be written.
    """
    paths = export_files(lab, now(draft, edition, facts, prompts))
    return [
        gr.update(value=str(path), label=_("Download {file}").format(file=path.name), visible=True)
        for path in paths
    ]


def _relation_of(draft: Draft) -> str:
    return draft.relation or next(iter(draft.relations), FIRST_PACK)


def _failed(lab: Lab, draft: Draft, stash: Draft | None, error: LabError) -> list[Any]:
    """Shows what is wrong, and where: all rows, so that the row it names is there by its number; or
    the wordings of the relation that lacks some."""
    tab, words = None, str(error)
    if isinstance(error, WordingMissing):
        draft, tab, words = lacking(draft)
    elif (
        isinstance(error, InputError) and error.row and error.source in (FACTS_TABLE, PROMPTS_TABLE)
    ):
        draft = replace(draft, relation="")
        tab = FACTS_ROWS if error.source == FACTS_TABLE else PROMPTS_ROWS
    return render(lab, draft, note("bad", words), stash=stash, tab=tab)
