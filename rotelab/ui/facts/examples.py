"""The example files: what each is, and links that give them away."""

from __future__ import annotations

from rotelab.ui.components import escape
from rotelab.ui.i18n import N_, _
from rotelab.ui.manual.links import read_more

EXAMPLES = {
    "codes.csv": N_("CSV: a relation of its own, in three columns"),
    "rivers.xlsx": N_("Excel: facts on one sheet, wordings on another"),
    "counterfact.json": N_("JSON like CounterFact: capitals that contradict what models know"),
    "inventors.jsonl": N_("JSON lines: other right answers beside each"),
}
"""Files in `assets/examples`, and what they show."""

MAY_LOOK_LIKE = N_(
    "A file needs a column for the subject and one for the object; what they are called hardly "
    "matters, and you can choose them before anything changes. A column may name the relation; "
    "else the file's name does. Wordings may come in the same file, in a second one, or be made "
    "here."
)
FILE_RULES = "guide/facts.md#files-that-you-have-already"


def examples_html() -> str:
    """What a file of facts may look like, example files to save, and where all of it is told."""
    items = "".join(
        f'<li><a href="examples/{name}" download="{name}">{name}</a> – {escape(_(words))}</li>'
        for name, words in EXAMPLES.items()
    )
    return (
        f'<details class="lacks" id="facts-examples"><summary>{_("What may a file look like?")}'
        f"</summary><p>{escape(_(MAY_LOOK_LIKE))} {read_more(FILE_RULES, _('All formats'))}</p>"
        f"<p>{_('Example files, to save and to import:')}</p><ul>{items}</ul></details>"
    )
