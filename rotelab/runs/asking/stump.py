"""Stump the model: people make up wordings for a learned fact, and the lab keeps the score.

What was tried stays with the run (`registry.stumps`), and can become prompts of the facts' pack, so
that later runs are tested with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rotelab.errors import LabError
from rotelab.evaluation.answer_match import first_line
from rotelab.evaluation.judging.questions import Query
from rotelab.evaluation.judging.stumping import OUTCOMES, outcome_of
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack, comes_with_lab
from rotelab.facts.prompts import SLOT, PromptSet, PromptTemplate, Role
from rotelab.registry import RunRow, Stump
from rotelab.runs.lab import Lab

ANSWER_TOKENS = 16
MAX_QUESTION = 300

ROLES: dict[str, Role] = {"answered": "test", "missed": "test", "leaked": "unrelated"}
"""What a wording becomes in a pack, by its outcome: one that leaked asks for something else, and is
there to show leaks. The other outcomes are about nothing that was learned."""


@dataclass(frozen=True)
class Saved:
    """Wordings that became prompts.

    Args:
        pack: the name of the saved fact set.
        version: its new version.
        count: how many wordings were new.
        left_out: how many were not taken: they lack the name, or the pack has them already.
    """

    pack: str
    version: int
    count: int
    left_out: int


def names_to_try(run: RunRow) -> list[tuple[int, Fact]]:
    """The facts of a run with their indices: those that phase 2 never showed in words first.

    Raises:
        LabError: the run's row is damaged.
    """
    held_out = set(run.config.split(run.pack.facts).held_out)
    facts = list(enumerate(run.pack.facts))
    return sorted(facts, key=lambda numbered: numbered[1] not in held_out)


def try_wording(
    lab: Lab, run_id: str, fact_index: int, question: str, astray: bool = False
) -> Stump:
    """Asks a run's newest model a wording, judges the answer, and keeps both.

    Args:
        lab: has the run.
        run_id: the run.
        fact_index: the fact that the wording is meant to ask for.
        question: the wording.
        astray: whether it is meant to ask for something else.

    Raises:
        LabError: nothing was typed, it asks through the key token, or the run can't be asked.
    """
    question = " ".join((question or "").split())[:MAX_QUESTION]
    run = lab.registry.run(run_id)
    if not question:
        raise LabError("Type a wording first, with the name in it.")
    if not 0 <= fact_index < len(run.pack.facts):
        raise LabError("Choose a name of this run first.")
    if Query.parse(question, [relation.name for relation in run.pack.facts.relations]).relation:
        raise LabError("That asks through the key token, which it knows by heart. Ask in words.")
    newest = lab.chat.checkpoints(run_id)[-1]
    if newest == "base":
        raise LabError("This run has learned nothing yet that it could be asked for.")
    # The untouched model answers too: whether a fact leaked is told from the difference.
    replies = lab.chat.stream(run_id, question, ["base", newest], ANSWER_TOKENS)
    reply = [reply for reply in replies if reply.done and reply.checkpoint == newest][-1]
    answer = first_line(reply.text)
    outcome = outcome_of(reply.verdict, answer, run.pack.facts[fact_index], astray)
    tried = Stump(fact_index, question, newest, answer, reply.verdict.known, outcome)
    number = lab.registry.add_stump(run_id, tried)
    return tried._replace(number=number)


def score(tried: Sequence[Stump]) -> dict[str, int]:
    """How often each of `OUTCOMES` came out."""
    counts = Counter(stump.outcome for stump in tried)
    return {outcome: counts[outcome] for outcome in OUTCOMES}


def save_wordings(lab: Lab, run_id: str) -> Saved:
    """Adds what was tried on a run to the prompts of its pack, as a new version.

    A pack that comes with the lab stays as it is; the wordings go into an own copy of it.

    Raises:
        LabError: there is nothing to save, or it can't be saved.
    """
    run = lab.registry.run(run_id)
    pack = _pack_of(lab, run)
    tried = [stump for stump in lab.registry.stumps(run_id) if stump.outcome in ROLES]
    there = {(prompt.relation, _plain(prompt.text)) for prompt in pack.prompts}
    found: dict[tuple[str, str], PromptTemplate] = {}
    for stump in tried:
        template = template_of(stump, run.pack.facts)
        key = (template.relation, _plain(template.text)) if template else None
        if key and key not in there:
            found.setdefault(key, template)
    if not found:
        raise LabError(
            "No wording is new: a wording must have the name in it once, and the facts do not "
            "have it yet. Try one, then keep it."
        )
    prompts = PromptSet([*pack.prompts, *found.values()])
    version = lab.save_pack(Pack(pack.name, pack.facts, prompts))
    return Saved(pack.name, version, len(found), len(tried) - len(found))


def template_of(tried: Stump, facts: FactSet) -> PromptTemplate | None:
    """A wording with the place of the name left open; None where the name is not in it once."""
    if not 0 <= tried.fact_index < len(facts) or SLOT in tried.question:
        return None
    fact = facts[tried.fact_index]
    name = re.compile(rf"(?<!\w){re.escape(fact.subject)}(?!\w)", re.IGNORECASE)
    text, count = name.subn(SLOT.replace("\\", r"\\"), tried.question)
    if count != 1:
        return None
    return PromptTemplate(fact.relation, ROLES[tried.outcome], "en", text)


def _pack_of(lab: Lab, run: RunRow) -> Pack:
    """The pack that takes the wordings: the run's own, an own copy of a shipped one, or, where it
    is gone, what the run has kept of it."""
    name = f"my {run.pack_name}" if comes_with_lab(run.pack_name) else run.pack_name
    for known in (name, run.pack_name):
        if known in lab.pack_names():
            pack = lab.find_pack(known)
            return Pack(name, pack.facts, pack.prompts)
    return Pack(name, run.pack.facts, run.pack.prompts)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
