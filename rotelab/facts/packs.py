"""Fact packs: folders with `facts.csv` and `prompts.csv`, which are read and checked together."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from rotelab.errors import InputError, LabError
from rotelab.facts.csv_text import read_bytes
from rotelab.facts.facts import FactSet
from rotelab.facts.facts_importer import parse_facts
from rotelab.facts.prompts import PromptSet, PromptTemplate, Role, parse_prompts
from rotelab.storage import ASSETS

SHIPPED = ASSETS / "packs"
STAGED = ASSETS / "experiments"
"""Files of the experiments, and the facts of the recorded run. Packs in there load by name, but are
not among those offered."""

NEEDED: tuple[Role, ...] = ("train", "test")
"""The roles in which every relation must have a wording in English."""

PACKS_HELD = 16
"""How many packs `pack_from_text` keeps in memory."""


class WordingMissing(InputError):
    """A relation has facts, but no wording of a role that it needs.

    Args:
        relation: its name.
        role: the role.
        words: what it is called in a sentence.
        pack: what the user calls the pack.
    """

    def __init__(self, relation: str, role: Role, words: str, pack: str):
        super().__init__(
            f"the relation {relation!r} has no {role} prompt. Add a row with role {role}, language "
            f"en and a text such as “The {words} of {{subject}} is”.",
            source=f"prompts of {pack}",
        )
        self.relation, self.role, self.words = relation, role, words


@dataclass(frozen=True)
class Pack:
    """Facts and the wordings that go with them.

    Args:
        name: what the user calls it.
        facts: the facts.
        prompts: the wordings of all their relations.
    """

    name: str
    facts: FactSet
    prompts: PromptSet

    @property
    def content_hash(self) -> str:
        """`sha256:` and the hash over facts and prompts."""
        text = self.facts.to_csv() + "\0" + self.prompts.to_csv()
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def check(self) -> None:
        """Checks that every relation can be taught and tested.

        Raises:
            WordingMissing: a relation has no train or no test prompt in English.
        """
        for relation in self.facts.relations:
            for role in NEEDED:
                if not self.prompts.of(relation.name, role):
                    raise WordingMissing(relation.name, role, relation.words, self.name)


def shipped_packs() -> list[str]:
    """The names of the packs that come with the lab, sorted."""
    return _packs_in(SHIPPED)


def comes_with_lab(name: str) -> bool:
    """Whether a pack of that name is one of the lab's own, offered or not."""
    return name in shipped_packs() or name in _packs_in(STAGED)


def load_pack(name: str | Path) -> Pack:
    """Loads a shipped pack or an experiment's by its name, or any folder with the two files.

    Raises:
        InputError: the pack is unknown, a file is missing, or its content is not valid.
    """
    if str(name) in shipped_packs():
        folder = SHIPPED / str(name)
    elif str(name) in _packs_in(STAGED):
        folder = STAGED / str(name)
    else:
        folder = Path(os.path.abspath(name))  # so that “.” and “..” have a name
    if not str(name).strip() or not os.path.isdir(folder):  # False for invalid paths too
        raise InputError(
            f"there is no pack {str(name)[:80]!r}. Known packs: {', '.join(shipped_packs())}. "
            "Or give a folder with facts.csv and prompts.csv."
        )
    try:
        data = read_bytes(folder / "facts.csv")
        prompts = parse_prompts(read_bytes(folder / "prompts.csv"), "prompts.csv")
        # The authors' columns have no relation; the prompts have, if it is only one.
        relations = {prompt.relation for prompt in prompts}
        relation = relations.pop() if len(relations) == 1 else ""
        facts = parse_facts(data, "facts.csv", relation)
    except InputError as error:
        raise InputError(
            error.message,
            source=f"{folder.name}/{error.source}",
            row=error.row,
            column=error.column,
        ) from error
    pack = Pack(folder.name, facts, prompts)
    pack.check()
    return pack


def staged_file(name: str) -> Path:
    """A file of an experiment, such as `contradiction/true.csv`."""
    return STAGED / name


def other_readings() -> PromptSet:
    """Wordings of meanings that no shipped relation has, each with a relation's name of its own.

    Raises:
        InputError: the file is not valid.
    """
    path = staged_file("readings.csv")
    return parse_prompts(read_bytes(path), path.name)


def language_prompts(relation: str) -> tuple[PromptTemplate, ...]:
    """The shipped test prompts of a relation in other languages than English.

    They are in `languages.csv`, which is not part of the pack: no run stores them, so none is
    trained on them, and a pack stays the same when a language is added.

    Raises:
        InputError: the file is not valid.
    """
    path = SHIPPED / relation / "languages.csv"
    if relation not in shipped_packs() or not path.is_file():
        return ()
    return tuple(parse_prompts(read_bytes(path), f"{relation}/languages.csv"))


@functools.lru_cache(maxsize=PACKS_HELD)
def pack_from_text(name: str, facts_csv: str, prompts_csv: str) -> Pack:
    """A pack from the CSV texts in the registry; the last few are cached for pages that poll.

    Raises:
        LabError: the texts can't be read.
    """
    try:
        pack = Pack(
            name,
            parse_facts(facts_csv.encode(), "facts"),
            parse_prompts(prompts_csv.encode(), "prompts"),
        )
    except InputError as error:
        raise LabError(f"The facts stored under {name!r} can't be read: {error}") from error
    return pack


def _packs_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if (path / "facts.csv").is_file())
