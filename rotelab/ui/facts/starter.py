"""What a draft lacks in wordings, and a starter set for it; without gradio."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from rotelab.facts.facts import in_words
from rotelab.facts.packs import NEEDED
from rotelab.facts.prompts import ROLES, PromptTemplate, Role
from rotelab.facts.starter_wordings import starter_wordings
from rotelab.ui.facts.draft import Draft, Rows, named, names_of, prompt_row


def missing_wordings(draft: Draft) -> dict[str, tuple[Role, ...]]:
    """The roles that relations need and have no English wording of, by relation as it is typed."""
    names = names_of(draft)
    there = {
        (names.of(row[0]), row[1]) for row in draft.filled_prompts if row[0] and row[2] == "en"
    }
    missing = {
        name: tuple(role for role in NEEDED if (names.of(name), role) not in there)
        for name in draft.relations
        if name
    }
    return {name: roles for name, roles in missing.items() if roles}


def with_starter_wordings(draft: Draft) -> tuple[Draft, list[str]]:
    """Adds wordings made from the relation's words, for relations that can't be taught or tested.

    Returns:
        The new draft, and the relations that wordings were added for, as they are typed.
    """
    missing = missing_wordings(draft)
    if not missing:
        return draft, []
    whole = named(draft)
    there = [PromptTemplate(*row) for row in whole.filled_prompts]
    names = names_of(draft)
    made: Rows = ()
    for name in missing:
        inner = names.of(name)
        more = starter_wordings(inner, whole.labels.get(inner) or in_words(name), there)
        made += tuple((name, *prompt_row(prompt)[1:]) for prompt in more)
    return replace(draft, prompts=draft.filled_prompts + made), list(missing)


def role_counts(draft: Draft) -> dict[str, int]:
    """How many wordings of each role there are for the relations that have facts; for all where
    there are no facts yet."""
    names = names_of(draft)
    have = {names.of(name) for name in draft.relations if name}
    counts = Counter(
        row[1] for row in draft.filled_prompts if not have or names.of(row[0] or "-") in have
    )
    return {role: counts[role] for role in ROLES}


def idle_wordings(draft: Draft) -> int:
    """How many wordings stand there of relations without facts, where others have some."""
    return len(draft.filled_prompts) - sum(role_counts(draft).values())
