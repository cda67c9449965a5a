"""Wordings from other data sets as templates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from rotelab.errors import InputError
from rotelab.facts.prompts import MAX_TEXT, SLOT, PromptSet, PromptTemplate, Role

MOST = 100
"""Most wordings of a relation and role that are taken from a file of facts: CounterFact has two for
each of its facts, and a run asks a few."""

# `[Y]` of LAMA and ParaRel stands where the object goes, which must be the end here.
_OBJECT = re.compile(r"\s*(?:\[Y\]|\[MASK\]|\{object\}|\{obj\})\s*[.!?。]*\s*$")
_OBJECT_ANYWHERE = re.compile(r"\[Y\]|\[MASK\]|\{object\}|\{obj\}")
_SUBJECT = re.compile(r"\[X\]|\{\}|\{(?:subject|subj|sub)\}", re.IGNORECASE)

ROLES = {
    "paraphrase": "test", "rephrase": "test", "prompt": "train", "neighborhood": "unrelated",
    "neighbourhood": "unrelated",
}  # fmt: skip
"""What other data sets call the roles."""


def template(text: str) -> str | None:
    """A wording of another data set as the lab writes it: `{subject}` for the subject, and nothing
    after it where the object goes.

    Args:
        text: with `{subject}`, `{}` or `[X]` for the subject, and `[Y]` or nothing for the object.

    Returns:
        The wording; None where the object stands in its midst.
    """
    text = _OBJECT.sub("", text.strip())
    if _OBJECT_ANYWHERE.search(text):
        return None
    return _SUBJECT.sub(SLOT, text, count=1)


def about(text: str, subject: str) -> str | None:
    """A wording about one subject as a template; as it stands where it does not name the subject.

    Returns:
        The wording; None where it names the subject twice, or the object stands in its midst.
    """
    made = template(" ".join(text.split()).removeprefix("nq question: "))
    if made is None or SLOT in made or subject not in made:
        return made
    found = list(re.finditer(rf"(?<!\w){re.escape(subject)}(?!\w)", made))
    if not found:
        return made
    return made[: found[0].start()] + SLOT + made[found[0].end() :] if len(found) == 1 else None


def taken(text: str, role: Role) -> bool:
    """Whether a wording can be used in a role: only an unrelated one may lack the subject."""
    slots = text.count(SLOT)
    return slots == 1 or (slots == 0 and role == "unrelated")


class WordingBook:
    """Wordings in the order in which they come; a wording has one role in a relation."""

    def __init__(self) -> None:
        self._there: dict[tuple[str, str], PromptTemplate] = {}
        self._counts: Counter[tuple[str, Role]] = Counter()

    def __iter__(self) -> Iterator[PromptTemplate]:
        return iter(self._there.values())

    def add(self, prompt: PromptTemplate) -> bool:
        """Adds a wording of a table of wordings.

        Returns:
            Whether it was there already.

        Raises:
            InputError: it is not as `PromptSet` wants it, or is there with another role.
        """
        PromptSet([prompt])
        there = self._there.setdefault(_key(prompt), prompt)
        if there is prompt:
            self._counts[prompt.relation, prompt.role] += 1
            return False
        if (there.role, there.language) != (prompt.role, prompt.language):
            raise InputError(
                f"{prompt.text[:60]!r} is there already, with the role {there.role} in "
                f"{there.language}. A wording has one role: change or delete one.",
                column="text",
            )
        return True

    def offer(self, prompt: PromptTemplate) -> str:
        """Adds a wording that stands beside a fact, unless it is there or there are enough.

        Returns:
            Why it was left out although it was new, with `{n}` for the number of such wordings;
            empty otherwise.
        """
        if _key(prompt) in self._there:
            return ""
        if len(prompt.text) > MAX_TEXT:
            return f"Wordings left out because they have more than {MAX_TEXT} characters: {{n}}."
        if self._counts[prompt.relation, prompt.role] >= MOST:
            return f"Wordings left out beyond the first {MOST} of a relation and role: {{n}}."
        self.add(prompt)
        return ""

    def next_role(self, relation: str) -> Role:
        """The role of a wording whose table names none: taught and tested in turn."""
        counts = self._counts
        return "train" if counts[relation, "train"] <= counts[relation, "test"] else "test"


def _key(prompt: PromptTemplate) -> tuple[str, str]:
    return prompt.relation, " ".join(prompt.text.casefold().split())
