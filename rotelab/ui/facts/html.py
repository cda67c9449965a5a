"""The sentences of the Facts tab, as HTML; whatever a person typed is escaped here."""

from __future__ import annotations

from collections.abc import Sequence

from rotelab.facts.prompts import SLOT
from rotelab.ui.components import escape
from rotelab.ui.facts.draft import Draft, filled, role_counts

INTRODUCTION = (
    '<p class="lead"><b>What shall the model learn?</b> Each fact ties a subject to an object. '
    "The names are invented, so no model knows them. Double-click a cell to write your own.</p>"
)

SAVE_HINT = "Change what you like: nothing is kept until you save, and no version is overwritten."
NEW_HINT = "Type names into the table: who, and whose mother. Ten facts or more are worth a run."
RESTORED = "Your unsaved changes are back."
CHANGED = "Changed, and not saved yet."
KEY_TOKEN = "The key token: a new word that means nothing to the model at first."

EMPTY = (
    '<p class="note">No facts yet. Add a row and type names into it, invent some, or import a CSV '
    "file.</p>"
)

ROLES_EXPLAINED = (
    '<p class="hint">The same fact can be asked for in many wordings; <code>{subject}</code> '
    "stands for the subject. <b>train</b>: taught, in the few sentences that give the key token "
    "its meaning. <b>test</b>: never taught; shows whether the model has understood. "
    "<b>unrelated</b>: asks for something else, for testing that the fact does not pop up "
    "everywhere. <b>locality</b>: the same, used while training to keep it from doing so. "
    "Empty a text to drop the wording.</p>"
)

ROLE_WORDS = {
    "train": "to teach",
    "test": "to test",
    "unrelated": "unrelated",
    "locality": "off-topic",
}


def note(kind: str, *sentences: str) -> str:
    """A message beside the hand: kind is “good”, “warn”, “bad” or empty."""
    text = " ".join(escape(sentence) for sentence in sentences if sentence)
    role = "alert" if kind == "bad" else "status"
    return f'<p class="note{f" note-{kind}" if kind else ""}" role="{role}">{text}</p>'


def plural(count: int, word: str) -> str:
    """“1 fact”, “20 facts”."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def kept_note(draft: Draft) -> str:
    """Said when another set is opened over unsaved changes."""
    where = f"to “{draft.name}”" if draft.name else "to the new set"
    return f"Your unsaved changes {where} are kept: bring them back with the button below."


def wordings_added(relations: Sequence[str]) -> str:
    """Said when wordings came with the facts; empty when none did."""
    if not relations:
        return ""
    return f"The wordings for {', '.join(relations)} were added from the packs of rotelab."


def saved_note(draft: Draft, is_new: bool, doubtful: int, added: Sequence[str]) -> str:
    """Said after a save."""
    if is_new:
        first = f"Saved as “{draft.name}”, version {draft.version}."
    else:
        first = f"Nothing changed: this is already version {draft.version} of “{draft.name}”."
    doubts = ""
    if doubtful:
        doubts = f"{plural(doubtful, 'row')} may be hard to learn: see the notes beside them."
    return note("warn" if doubtful else "good", first, wordings_added(added), doubts)


def count_chips(draft: Draft) -> str:
    """How much stands in the tables."""
    relations = draft.relations
    facts = f'<span class="chip"><b>{sum(relations.values()):,}</b> facts</span>'
    if len(relations) > 1:
        facts += f'<span class="chip"><b>{len(relations)}</b> relations</span>'
    roles = " · ".join(
        f"{count} {ROLE_WORDS[role]}" for role, count in role_counts(draft).items() if count
    )
    wordings = f'<span class="chip">wordings: {roles}</span>' if roles else ""
    return f'<div class="chips">{facts}{wordings}</div>'


def example_lines(draft: Draft) -> str:
    """How the first fact is read: by rote, and in words."""
    fact = next((row for row in draft.shown_facts() if all(row)), None)
    if fact is None:
        return EMPTY if not draft.relations else ""
    relation, subject, thing = (escape(cell) for cell in fact)
    wording = next(
        (
            row[3]
            for row in filled(draft.prompts)
            if row[0] == fact[0] and row[1] == "train" and SLOT in row[3]
        ),
        None,
    )
    words = ""
    if wording:
        said = escape(wording.replace(SLOT, fact[1], 1))
        words = f"<span><b>In words, it means:</b> “{said} <u>{thing}</u>”</span>"
    key = f'<mark title="{KEY_TOKEN}">[{relation}]</mark>'
    rote = f"<span><b>Learned by rote:</b> “{subject} {key} <u>{thing}</u>”</span>"
    return f'<p class="example">{rote}{words}</p>'
