"""The sentences of the Facts tab, as HTML; whatever a person typed is escaped here."""

from __future__ import annotations

from collections.abc import Sequence

from rotelab.facts.prompts import SLOT
from rotelab.ui import components
from rotelab.ui.components import escape
from rotelab.ui.facts.draft import Draft, filled, lacks_of, role_counts
from rotelab.ui.i18n import N_, _, ngettext

INTRODUCTION = N_(
    "<b>What should the model learn?</b> Each fact ties a subject to an object. The names are "
    "invented, so no model knows them. Double-click a cell to write your own."
)

SAVE_HINT = N_(
    "Change what you like: nothing is kept until you save, and no version is overwritten."
)
NEW_HINT = N_(
    "Type names into the table: who, and whose mother. Ten facts or more are worth a run."
)
RESTORED = N_("Your unsaved changes are back.")
CHANGED = N_("Changed, and not saved yet.")
KEY_TOKEN = N_("The key token: a new word that means nothing to the model at first.")

UNFOLDED = 3
"""Most hints on a pack that are shown at once."""
EMPTY = N_("No facts yet. Add a row and type names into it, invent some, or import a CSV file.")

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
    return (
        f'<div class="chips">{"".join(f"<span class=chip>{chip}</span>" for chip in chips)}</div>'
    )


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
    fact = next((row for row in draft.shown_facts() if all(row)), None)
    if fact is None:
        return f'<p class="note">{_(EMPTY)}</p>' if not draft.relations else ""
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
        words = f"<span><b>{_('In words, it means:')}</b> “{said} <u>{thing}</u>”</span>"
    key = f'<mark title="{_(KEY_TOKEN)}">[{relation}]</mark>'
    rote = f"<span><b>{_('Learned by rote:')}</b> “{subject} {key} <u>{thing}</u>”</span>"
    return f'<p class="example">{rote}{words}</p>'
