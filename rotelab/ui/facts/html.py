"""The sentences of the Facts tab, as HTML; whatever a person typed is escaped here."""

from __future__ import annotations

from collections.abc import Sequence

from rotelab.facts.formats.delimited import DELIMITERS
from rotelab.facts.formats.tables import Cell, Table
from rotelab.facts.prompts import SLOT
from rotelab.ui import components
from rotelab.ui.components import escape
from rotelab.ui.facts.draft import Draft, lacks_of
from rotelab.ui.facts.incoming import Incoming, Taken, for_the_page
from rotelab.ui.facts.starter import idle_wordings, missing_wordings, role_counts
from rotelab.ui.i18n import N_, _, ngettext

INTRODUCTION = N_(
    "<b>What should the model learn?</b> Each fact ties a subject to an object. The names are "
    "invented, so no model knows them. Click a cell and type your own."
)

SAVE_HINT = N_(
    "Change what you like: nothing is kept until you save, and no version is overwritten."
)
NEW_HINT = N_(
    "Type names into the table: each person and the mother. Ten facts or more are worth a run."
)
RESTORED = N_("Your unsaved changes are back.")
CHANGED = N_("Changed, and not saved yet.")
KEY_TOKEN = N_("The key token: a new word that means nothing to the model at first.")

UNFOLDED = 3
"""Most hints on a pack that are shown at once."""
EMPTY = N_("No facts yet. Add a row and type names into it, invent some, or import a file.")

FILES_EXPLAINED = N_(
    "CSV, TSV, JSON, Excel, LibreOffice, Parquet or a zip; also CounterFact, zsRE, EasyEdit, "
    "PopQA, LAMA and ParaRel. You see what it holds before anything changes."
)

PREVIEW_ROWS, PREVIEW_COLUMNS, PREVIEW_LETTERS, PREVIEW_DOUBTS = 5, 12, 60, 6
"""How much of an uploaded file is shown."""

PART_WORDS = {
    "subject": N_("Subject"),
    "object": N_("Object"),
    "relation": N_("Relation"),
    "label": N_("relation in words"),
    "aliases": N_("Also right"),
    "old": N_("true before"),
    "train": N_("to teach"),
    "test": N_("to test"),
    "unrelated": N_("unrelated"),
    "text": N_("wording"),
    "role": N_("role"),
    "language": N_("language"),
}
"""What a column of a file holds."""

ROLES_EXPLAINED = N_(
    "The same fact can be asked for in many wordings; <code>{subject}</code> stands for the "
    "subject. <b>train</b>: taught, in the few sentences that give the key token its meaning. "
    "<b>test</b>: never taught; shows whether the model has understood. <b>unrelated</b>: asks for "
    "something else, for testing that the fact does not pop up everywhere. <b>locality</b>: the "
    "same, used while training to keep it from doing so. Empty a text to drop the wording."
)

ROLE_COUNTS = {
    "train": N_("{n} to teach"),
    "test": N_("{n} to test"),
    "unrelated": N_("{n} unrelated"),
    "locality": N_("{n} for locality"),
}


def note(kind: str, *sentences: str) -> str:
    """A message beside the save button: kind is `good`, `warn`, `bad` or empty."""
    return components.note(" ".join(filter(None, sentences)), kind)


def kept_note(draft: Draft) -> str:
    """Said when another set is opened over unsaved changes."""
    if not draft.name:
        return _(
            "Your unsaved changes to the new set are kept: bring them back with the button below."
        )
    return _(
        "Your unsaved changes to “{name}” are kept: bring them back with the button below."
    ).format(name=draft.name)


def wordings_added(relations: Sequence[str]) -> str:
    """Said when wordings came with the facts; empty when none did."""
    if not relations:
        return ""
    return _("The wordings for {relations} were added from the packs of rotelab.").format(
        relations=", ".join(relations)
    )


def starter_made(relations: Sequence[str]) -> str:
    """Said when a starter set was made; empty when none was."""
    if not relations:
        return ""
    return _(
        "Wordings for {relations} were made from the words alone, so they are only a start: read "
        "them under Wordings, change what sounds wrong, and add some in other words."
    ).format(relations=_listed(relations))


def starter_offer(draft: Draft) -> str:
    """What is said above the wordings where a relation has none to teach or to test."""
    missing = missing_wordings(draft)
    if not missing:
        return ""
    said = _(
        "<b>{relations}</b>: wordings are missing, without which it can't be taught and tested. A "
        "starter set puts the relation's own words into ready sentences. A program can't know what "
        "they mean: read them, change what sounds wrong, and add some in other words."
    ).format(relations=escape(_listed(list(missing))))
    return f'<p class="note note-warn">{said}</p>'


def wording_missing(relation: str, role: str) -> str:
    """Why the draft can't be saved, and what mends it."""
    reasons = {
        "train": N_("Not saved: “{relation}” has no wording to teach (role train, language en)."),
        "test": N_("Not saved: “{relation}” has no wording to test (role test, language en)."),
    }
    return " ".join((
        _(reasons[role]).format(relation=relation),
        _("The table of wordings is open: write some, or press “Make a starter set” above it."),
    ))  # fmt: skip


def _listed(relations: Sequence[str], most: int = 4) -> str:
    """The first few, and how many more there are."""
    more = f" (+{len(relations) - most})" if len(relations) > most else ""
    return ", ".join(relations[:most]) + more


def saved_note(draft: Draft, is_new: bool, doubtful: int, added: Sequence[str]) -> str:
    """Said after a save."""
    if is_new:
        first = _("Saved as “{name}”, version {version}.")
    else:
        first = _("Nothing changed: this is already version {version} of “{name}”.")
    first = first.format(name=draft.name, version=draft.version)
    doubts = ""
    if doubtful:
        doubts = ngettext(
            "{n} row may be hard to learn: see the note beside it.",
            "{n} rows may be hard to learn: see the notes beside them.",
            doubtful,
        ).format(n=doubtful)
    return note("warn" if doubtful else "good", first, wordings_added(added), doubts)


def count_chips(draft: Draft) -> str:
    """How much stands in the tables."""
    relations = draft.relations
    count = sum(relations.values())
    chips = [ngettext("<b>{n}</b> fact", "<b>{n}</b> facts", count).format(n=f"{count:,}")]
    if len(relations) > 1:
        chips.append(_("<b>{n}</b> relations").format(n=len(relations)))
    roles = [_(ROLE_COUNTS[role]).format(n=n) for role, n in role_counts(draft).items() if n]
    if roles:
        chips.append(_("wordings: {roles}").format(roles=" · ".join(roles)))
    if idle := idle_wordings(draft):
        chips.append(
            ngettext(
                "{n} wording of a relation without facts",
                "{n} wordings of relations without facts",
                idle,
            ).format(n=idle)
        )
    chips_html = "".join(f"<span class=chip>{chip}</span>" for chip in chips)
    # Read by assets/cells.js, which asks before unsaved changes are left.
    state = f'data-edition="{draft.edition}" data-unsaved="{"1" if draft.changed else ""}"'
    return f'<div class="chips" {state}>{chips_html}</div>'


def lacks_list(draft: Draft) -> str:
    """What the wordings lack and how to mend it, folded up if it is much; empty if all is well."""
    lacks = lacks_of(draft)
    if not lacks:
        return ""
    title = ngettext(
        "This pack could be better: {n} hint",
        "This pack could be better: {n} hints",
        len(lacks),
    ).format(n=len(lacks))
    items = "".join(f"<li>{escape(lack.sentence(_))}</li>" for lack in lacks)
    unfolded = " open" if len(lacks) <= UNFOLDED else ""
    return f'<details class="lacks"{unfolded}><summary>{title}</summary><ul>{items}</ul></details>'


def example_lines(draft: Draft) -> str:
    """How the first fact is read: by rote, and in words."""
    fact = next((row for row in draft.shown_facts() if all(row[:3])), None)
    if fact is None:
        return f'<p class="note">{_(EMPTY)}</p>' if not draft.relations else ""
    relation, subject, thing = (escape(cell) for cell in fact[:3])
    wording = next(
        (
            row[3]
            for row in draft.filled_prompts
            if row[0] == fact[0] and row[1] == "train" and SLOT in row[3]
        ),
        None,
    )
    words = ""
    if wording:
        said = escape(wording.replace(SLOT, fact[1], 1))
        words = f"<span><b>{_('In words, it means:')}</b> “{said} <u>{thing}</u>”</span>"
    key = f'<mark title="{_(KEY_TOKEN)}">[{relation}]</mark>'
    rote = f"<span><b>{_('Learned by rote:')}</b> “{subject} {key} <u>{thing}</u>”</span>"
    return f'<p class="example">{rote}{words}</p>'


# An uploaded file -------------------------------------------------------------------------------


def preview_head(incoming: Incoming) -> str:
    """How a file is read, and its first rows under its columns, each with what it holds."""
    table = incoming.main
    how = [table.format]
    if table.encoding:
        guessed = _("{encoding} (a guess)") if table.guessed else "{encoding}"
        how.append(guessed.format(encoding=table.encoding))
    if table.delimiter:
        how.append(_(DELIMITER_WORDS[DELIMITERS[table.delimiter]]))
    count = len(table.records)
    how.append(ngettext("{n} row", "{n} rows", count).format(n=f"{count:,}"))
    others = [t for t in incoming.tables if t is not table]
    more = ""
    if others:
        names = ", ".join(escape(t.source.partition("/")[2] or t.source) for t in others[:4])
        more = f'<p class="hint">{_("Read with it: {files}").format(files=names)}</p>'
    title = f"<b>{escape(table.source)}</b>: {escape(', '.join(how))}"
    return f'<p class="preview-title">{title}</p>{_preview_table(incoming, table)}{more}'


def _preview_table(incoming: Incoming, table: Table) -> str:
    holds = {column: part for part, of in incoming.columns.of.items() for column in of}
    # What is used comes first, so that it is seen without scrolling.
    order = [*PART_WORDS, ""]
    columns = sorted(table.columns, key=lambda c: order.index(holds.get(c, "")))[:PREVIEW_COLUMNS]
    head = "".join(
        f"<th>{f'<span class=part>{_(PART_WORDS[holds[c]])}</span>' if c in holds else ''}"
        f"{escape(shown_name(c))}</th>"
        for c in columns
    )
    rows = ""
    for record in table.records[:PREVIEW_ROWS]:
        cells = "".join(f"<td>{_cell(record.cells.get(column, ''))}</td>" for column in columns)
        rows += f"<tr>{cells}</tr>"
    return (
        f'<div class="preview"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def shown_name(column: str) -> str:
    """A column's name as it is shown, without the nesting of CounterFact."""
    if column == "#":
        return _("(no name)")
    return column.removeprefix("requested_rewrite.").removesuffix(".str")


def _cell(cell: Cell) -> str:
    text = cell if isinstance(cell, str) else " | ".join(map(str, cell))
    cut = len(text) > PREVIEW_LETTERS
    return escape(text[:PREVIEW_LETTERS]) + ("…" if cut else "")


DELIMITER_WORDS = {
    "comma": N_("commas between cells"),
    "semicolon": N_("semicolons between cells"),
    "tab": N_("tabs between cells"),
    "bar": N_("bars between cells"),
}


def preview_outcome(incoming: Incoming) -> str:
    """What would be taken in, and what is doubtful; or why nothing can be."""
    if incoming.imported is None:
        return note("bad", for_the_page(incoming.fault))
    imported = incoming.imported
    facts, prompts = len(imported.facts or ()), len(imported.prompts)
    relations = len(imported.facts.relations) if imported.facts else 0
    parts = []
    if facts:
        parts.append(ngettext("{n} fact", "{n} facts", facts).format(n=f"{facts:,}"))
        if relations > 1:
            parts.append(_("{n} relations").format(n=f"{relations:,}"))
    if prompts:
        parts.append(ngettext("{n} wording", "{n} wordings", prompts).format(n=f"{prompts:,}"))
    doubts = [for_the_page(str(doubt)) for doubt in imported.doubts]
    tone = "warn" if doubts else "good"
    said = note(tone, _("Goes into the table: {what}.").format(what=", ".join(parts)))
    if not doubts:
        return said
    shown = "".join(f"<li>{escape(doubt)}</li>" for doubt in doubts[:PREVIEW_DOUBTS])
    if len(doubts) > PREVIEW_DOUBTS:
        rest = len(doubts) - PREVIEW_DOUBTS
        shown += f"<li>{_('{n} more').format(n=rest)}</li>"
    return f'{said}<ul class="doubts">{shown}</ul>'


def taken_note(taken: Taken) -> str:
    """Said when a file was taken in."""
    words = ngettext(
        "{n} fact imported; not saved yet.", "{n} facts imported; not saved yet.", taken.facts
    ).format(n=f"{taken.facts:,}")
    if not taken.facts:
        words = ngettext(
            "{n} wording imported; not saved yet.",
            "{n} wordings imported; not saved yet.",
            taken.prompts,
        ).format(n=f"{taken.prompts:,}")
    elif taken.prompts:
        words = _("{facts} and {wordings} imported; not saved yet.").format(
            facts=ngettext("{n} fact", "{n} facts", taken.facts).format(n=f"{taken.facts:,}"),
            wordings=ngettext("{n} wording", "{n} wordings", taken.prompts).format(
                n=f"{taken.prompts:,}"
            ),
        )
    made = starter_made(taken.made)
    return note("warn" if made else "good", words, wordings_added(taken.shipped), made)
