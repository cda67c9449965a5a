"""Names of relations: what a file calls one becomes its label, and an internal name is made."""

from __future__ import annotations

import re
from pathlib import Path

from rotelab.facts.facts import RELATION_NAME, in_words
from rotelab.facts.names import normalize
from rotelab.facts.prompts import SLOT

LONGEST = 40
"""Longest internal name, in characters."""

_ENDINGS = re.compile(
    r"(\.(csv|tsv|tab|txt|json|jsonl|ndjson|xlsx|xlsm|xlsb|xls|ods|parquet|zip|gz))+$", re.I
)


class RelationNames:
    """Gives each relation one internal name (`RELATION_NAME`), however a file writes it."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._labels: dict[str, str] = {}

    def of(self, said: str, label: str = "") -> str:
        """The internal name of a relation.

        Args:
            said: what the file calls it: `P206`, `place of birth`, `mother`.
            label: the relation in words, where the file has that too.
        """
        key = re.sub(r"[\s_\-]+", "_", normalize(said)) or said
        if key not in self._names:
            name = self._names[key] = self._new(said)
            # “Mother” is no other name than “mother”; “Place of Birth” is how somebody writes it.
            same = said in (name, in_words(name)) or (said.isalpha() and said.casefold() == name)
            if not same:
                self._labels[name] = said
        name = self._names[key]
        if label:
            self._labels[name] = label
        return name

    def of_wording(self, text: str) -> str:
        """The internal name of a relation that only a wording tells: `{subject} lies on`."""
        return self.of(" ".join(text.replace(SLOT, "…").split()))

    def label(self, name: str) -> str:
        """The label of an internal name; empty for none."""
        return self._labels.get(name, "")

    def labels(self) -> dict[str, str]:
        """Every label, by internal name."""
        return dict(self._labels)

    def all(self) -> list[str]:
        """Every internal name."""
        return list(dict.fromkeys(self._names.values()))

    def _new(self, said: str) -> str:
        name = internal_name(said)
        taken, number = set(self._names.values()), 2
        made = name
        while made in taken:
            made = f"{name[: LONGEST - 4]}_{number}"
            number += 1
        return made


def internal_name(said: str) -> str:
    """A name for the lab's own use, made of what a person or file calls a relation."""
    if RELATION_NAME.fullmatch(said):
        return said
    from slugify import slugify  # spells other alphabets in Latin letters

    name = slugify(said, separator="_", max_length=LONGEST, word_boundary=True)
    name = name or slugify(said, separator="_", max_length=LONGEST)
    if name and not name[0].isalpha():
        name = f"r_{name}"[:LONGEST].rstrip("_")
    return name if RELATION_NAME.fullmatch(name) else "relation"


def stem_of(source: str) -> str:
    """A file's name without its ending: `P17` of `TREx/P17.jsonl`."""
    parts = [part for part in Path(source).parts if _ENDINGS.search(part)]
    return _ENDINGS.sub("", parts[-1] if parts else Path(source).name) or "facts"


def relation_of(source: str) -> str:
    """A relation's name from a file's: `authors` of `13_authors.csv`."""
    stem = stem_of(source)
    return stem.lstrip("0123456789_- .") or stem
