"""Where a relation lacks wordings: what Save says then, and the button that makes a starter set."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from rotelab.runs.lab import Lab
from rotelab.ui.components import ONCE, bound
from rotelab.ui.facts.draft import Draft, now
from rotelab.ui.facts.html import (
    count_chips,
    lacks_list,
    note,
    starter_made,
    wording_missing,
)
from rotelab.ui.facts.layout import PROMPTS_ROWS, View, offer_of, render
from rotelab.ui.facts.starter import missing_wordings, with_starter_wordings
from rotelab.ui.i18n import _

SHOW_OFFER = """() => requestAnimationFrame(() => {
    const offer = document.querySelector("#facts-starter");
    if (offer?.offsetParent) offer.scrollIntoView({block: "center"});
})"""
"""Run after Save: the offer is on show where that was refused for lack of wordings."""


def wire_starter(lab: Lab, view: View, saved) -> None:
    """Connects the offer of a starter set.

    Args:
        lab: whose fact sets can be chosen.
        view: the tab.
        saved: the event of Save; afterwards the offer is on show if that was refused for it.
    """
    tables = view.tables
    sheet = [*view.sheet, view.saving.stash]
    tables.make.click(bound(make_starter, lab), sheet, view.shown, **ONCE)
    seen = [tables.counts, tables.offer, tables.offered]
    latest = {**ONCE, "trigger_mode": "always_last"}
    tables.wordings.select(bound(look_over), view.sheet, seen, **latest)
    saved.then(None, None, None, js=SHOW_OFFER, **ONCE)


def make_starter(lab: Lab, draft, edition, facts, prompts, stash):
    """Adds wordings made from the words of every relation that can't be taught or tested yet."""
    draft, made = with_starter_wordings(now(draft, edition, facts, prompts))
    if len(made) == 1:
        draft = replace(draft, relation=made[0])
    words = starter_made(made) or _("Every relation has wordings to teach and to test.")
    return render(lab, draft, note("warn" if made else "", words), stash=stash, tab=PROMPTS_ROWS)


def look_over(draft, edition, facts, prompts):
    """When the wordings come to the front: what they lack for the facts as these are typed now."""
    if edition != draft.edition:  # the tables are being filled, and this with them
        return gr.skip()
    draft = draft.edited(facts, prompts)
    return [count_chips(draft) + lacks_list(draft), *offer_of(draft)]


def lacking(draft: Draft) -> tuple[Draft, str, str]:
    """A draft that can't be saved because a relation lacks wordings: with this relation on show,
    which of the two tables comes to the front, and what is said."""
    relation, roles = next(iter(missing_wordings(draft).items()))
    words = wording_missing(draft.labels.get(relation, relation), roles[0])
    return replace(draft, relation=relation), PROMPTS_ROWS, words
