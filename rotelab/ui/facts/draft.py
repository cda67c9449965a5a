"""A fact set while it is being edited, as plain rows; without gradio.

A table on the page shows all rows or those of one relation. What comes back from it is fitted into
the whole here, so that a filter never loses a row and an unchanged set stays unchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rotelab.errors import InputError, LabError
from rotelab.facts import synthetic
from rotelab.facts.diagnosis import Lack, diagnose_prompts
from rotelab.facts.facts import COLUMNS as FACT_COLUMNS
from rotelab.facts.facts import RELATION_NAME, Fact, FactSet
from rotelab.facts.facts_importer import parse_fact_rows
from rotelab.facts.formats.lists import as_typed
from rotelab.facts.packs import Pack, load_pack, shipped_packs
from rotelab.facts.prompts import COLUMNS as PROMPT_COLUMNS
from rotelab.facts.prompts import PromptTemplate, parse_prompt_rows
from rotelab.facts.reading.relations import RelationNames
from rotelab.registry import fact_set_name
from rotelab.runs.lab import Lab
from rotelab.ui.i18n import _

Rows = tuple[tuple[str, ...], ...]

FACT_SAYS, PROMPT_SAYS = 1, 3
"""A fact says something with its subject or object, a wording with its text."""

FACT_CELLS = (*FACT_COLUMNS, "aliases")
"""What a row of the facts table holds; the last cell lists names as a person types them."""

FACTS_TABLE = "Facts table"
PROMPTS_TABLE = "Wordings table"
KNOWN = "A base model answered this before any training, so it says nothing about learning."
MAX_DOUBTED = 2000
"""Above this many facts, doubts are not looked for: every name is held against every other."""


@dataclass(frozen=True)
class Draft:
    """The contents of the two tables.

    Args:
        name: the pack or fact set that was opened; empty for a new one.
        version: the version that was opened; 0 for a shipped pack or a new set.
        newest: the newest version at that time, which a save builds on.
        facts: rows of `FACT_CELLS`, unfinished ones included.
        prompts: (relation, role, language, text) rows.
        opened: both as they were opened, to know whether anything changed.
        relation: the one relation that the tables show; empty for all.
        known: facts that a base model answered in some run before any training.
        edition: marks what the page was sent last, so that a table that is behind is noticed.
        labels: what relations are called in words, by name.
        old: what was true before, by relation and subject; the table does not show it.
    """

    name: str = ""
    version: int = 0
    newest: int = 0
    facts: Rows = ()
    prompts: Rows = ()
    opened: tuple[Rows, Rows] = ((), ())
    relation: str = ""
    known: frozenset[tuple[str, ...]] = frozenset()
    edition: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    old: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether there are changes that are not saved."""
        return (self.filled_facts, self.filled_prompts) != self.opened

    @property
    def filled_facts(self) -> Rows:
        """The fact rows that say anything; the others are dropped when the set is saved."""
        return filled(self.facts, FACT_SAYS)

    @property
    def filled_prompts(self) -> Rows:
        """The prompt rows that say anything."""
        return filled(self.prompts, PROMPT_SAYS)

    @property
    def relations(self) -> Counter[str]:
        """How many facts each relation has, in the order in which they first appear."""
        return Counter(row[0] for row in self.filled_facts)

    def shown_facts(self) -> Rows:
        """The fact rows that the table shows."""
        return shown(self.facts, self.relation)

    def shown_prompts(self) -> Rows:
        """The prompt rows that the table shows."""
        return shown(self.prompts, self.relation)

    def edited(self, facts: Iterable[Sequence], prompts: Iterable[Sequence]) -> Draft:
        """The draft with what the two tables hold now."""
        return replace(
            self,
            facts=merged(self.facts, tidy(facts, len(FACT_CELLS)), self.relation),
            prompts=merged(self.prompts, tidy(prompts, len(PROMPT_COLUMNS)), self.relation),
        )


def now(
    draft: Draft, edition: str, facts: Iterable[Sequence], prompts: Iterable[Sequence]
) -> Draft:
    """The draft with what stands in the tables of the page.

    Raises:
        LabError: they are still those of an earlier draft.
    """
    if edition != draft.edition:
        raise LabError(_("The tables were still loading. Please try again."))
    return draft.edited(facts, prompts)


def open_draft(lab: Lab, name: str, version: int | None = None) -> Draft:
    """A pack or saved fact set, ready to be edited.

    Raises:
        LabError: there is none by that name or version.
    """
    versions = lab.registry.fact_sets(name)
    if versions:
        pack = lab.registry.fact_set(name, version)
    else:
        # Not `find_pack`: the page opens no folders of this machine.
        if name not in shipped_packs():
            raise LabError(f"There is no fact set {name[:80]!r}. Choose one from the list.")
        pack = load_pack(name)
    newest = versions[0].version if versions else 0
    facts, prompts = fact_rows(pack.facts), prompt_rows(pack)
    known = lab.registry.known_to_base()
    opened = (facts, prompts)
    return Draft(
        name, version or newest, newest, facts, prompts, opened, known=known,
        labels=pack.facts.labels, old=old_of(pack.facts),
    )  # fmt: skip


def empty_draft(relation: str, rows: int = 5) -> Draft:
    """A new set: empty rows to type names into, and the relation's own wordings.

    Args:
        relation: a shipped pack's only relation.
        rows: how many empty rows.
    """
    prompts = prompt_rows(load_pack(relation))
    empty = ((relation, *[""] * (len(FACT_CELLS) - 1)),)
    return Draft(facts=empty * rows, prompts=prompts, opened=((), prompts))


def fact_rows(facts: Iterable[Fact]) -> Rows:
    """Facts as rows of a table."""
    return tuple((f.relation, f.subject, f.object, as_typed(f.aliases)) for f in facts)


def old_of(facts: Iterable[Fact]) -> dict[tuple[str, ...], str]:
    """What was true before, by relation and subject."""
    return {(fact.relation, fact.subject): fact.old for fact in facts if fact.old}


def prompt_rows(pack: Pack) -> Rows:
    """A pack's wordings as rows of a table."""
    return tuple(map(prompt_row, pack.prompts))


def prompt_row(prompt: PromptTemplate) -> tuple[str, ...]:
    """A wording as a row of a table."""
    return (prompt.relation, prompt.role, prompt.language, prompt.text)


def tidy(rows: Iterable[Sequence], width: int) -> Rows:
    """What a table on the page sends: missing and empty cells as "", every row equally wide."""
    clean = []
    for row in rows or ():
        cells = ["" if cell is None else str(cell).strip() for cell in list(row)[:width]]
        clean.append(tuple(cells + [""] * (width - len(cells))))
    return tuple(clean)


def filled(rows: Rows, says: int) -> Rows:
    """The rows that say anything, `says` being the place of the first cell that counts."""
    return tuple(row for row in rows if any(row[says:]))


def shown(rows: Rows, relation: str) -> Rows:
    """The rows of one relation; all for an empty name."""
    return tuple(row for row in rows if not relation or row[0] == relation)


def merged(rows: Rows, now: Rows, relation: str) -> Rows:
    """Puts the rows that a filtered table holds now back into the whole.

    Args:
        rows: the whole as it was.
        now: what the table, which showed `shown(rows, relation)`, holds now.
        relation: its filter; empty for none.
    """
    if not relation:
        return now
    places = [i for i, row in enumerate(rows) if row[0] == relation]
    result = {i: (row,) for i, row in enumerate(rows) if row[0] != relation}
    result |= {place: (row,) for place, row in zip(places, now, strict=False)}
    last = places[-1] if places else len(rows)
    result[last] = result.get(last, ()) + now[len(places) :]
    return tuple(row for i in sorted(result) for row in result[i])


def checked_pack(draft: Draft, name: str) -> Pack:
    """The draft as a pack, every row and relation checked.

    Raises:
        InputError: a cell is not as it should be (named by table, row and column), or a relation
            has no wording to teach or to test it.
    """
    draft = named(draft)
    facts = checked_facts(draft)
    prompts = parse_prompt_rows(_blanked(draft.prompts, PROMPT_SAYS), PROMPTS_TABLE)
    pack = Pack(name, facts, prompts)
    pack.check()
    return pack


def checked_facts(draft: Draft) -> FactSet:
    """The draft's facts, every row checked.

    Raises:
        InputError: a cell is not as it should be.
    """
    facts = parse_fact_rows(_blanked(draft.facts, FACT_SAYS), FACTS_TABLE)
    known = (replace(f, old=draft.old.get((f.relation, f.subject), "")) for f in facts)
    return FactSet(known, FACTS_TABLE, draft.labels)


def named(draft: Draft) -> Draft:
    """The draft with an internal name for each relation that a person wrote in words; the words
    become its label."""
    names = names_of(draft)

    def with_name(row: tuple[str, ...]) -> tuple[str, ...]:
        return (names.of(row[0]), *row[1:]) if row[0].strip() else row

    facts, prompts = map(with_name, draft.facts), map(with_name, draft.prompts)
    return replace(draft, facts=tuple(facts), prompts=tuple(prompts), labels=names.labels())


def save_draft(lab: Lab, draft: Draft, name: str) -> tuple[Draft, bool]:
    """Saves a draft as the newest version of the fact set of that name.

    Returns:
        The draft as it is saved, and whether that made a new version.

    Raises:
        LabError: the name is taken by a shipped pack or another set, the draft is not as it should
            be, or somebody saved a version meanwhile.
    """
    name = fact_set_name(name)
    if name in shipped_packs():
        raise LabError(
            f"“{name}” comes with rotelab and stays as it is. Save yours under another name, such "
            f"as “my {name}”."
        )
    pack = checked_pack(draft, name)
    same = name == draft.name
    before = lab.registry.fact_sets(name)
    if before and not same:
        raise LabError(
            f"There is already a fact set “{name}”. Save yours under another name, or open that "
            "one and change it."
        )
    version = lab.registry.save_fact_set(name, pack, draft.newest if same else 0)
    is_new = not before or version != before[0].version
    facts, prompts = fact_rows(pack.facts), prompt_rows(pack)
    saved = replace(
        draft, name=name, version=version, newest=version, facts=facts, prompts=prompts,
        opened=(facts, prompts), labels=pack.facts.labels,
    )  # fmt: skip
    return saved, is_new


def invent_into(draft: Draft, relation: str, count: int, seed: int) -> Draft:
    """Adds invented facts to the draft, none of them like one that is there.

    Raises:
        LabError: that relation or number can't be invented.
    """
    there = [Fact(*row[:3]) for row in draft.facts if all(row[:3])]
    new = synthetic.invent(relation, count, seed, there)
    facts = draft.filled_facts + fact_rows(new)
    hidden = draft.relation not in ("", relation)
    return replace(draft, facts=facts, relation="" if hidden else draft.relation)


def with_wordings(draft: Draft) -> tuple[Draft, list[str]]:
    """Adds the shipped wordings of every relation that has facts but no wording at all.

    Returns:
        The new draft, and the relations that wordings were added for.
    """
    known = {row[0] for row in draft.prompts}
    missing = [name for name in draft.relations if name not in known and name in shipped_packs()]
    for name in missing:
        draft = replace(draft, prompts=draft.filled_prompts + prompt_rows(load_pack(name)))
    return draft, missing


def notes_of(draft: Draft) -> tuple[dict[int, str], dict[int, str]]:
    """What is to be said beside the rows of the two tables: faults and doubts.

    Returns:
        Two dictionaries from the 1-based row of the whole table to the note.
    """
    facts: dict[int, str] = {}
    prompts: dict[int, str] = {}
    try:
        numbers = [i for i, row in enumerate(draft.facts, 1) if any(row[FACT_SAYS:])]
        checked = checked_facts(draft)
        if len(checked) <= MAX_DOUBTED:
            for doubt in checked.doubts():
                row = numbers[doubt.row - 1]
                facts[row] = " ".join(filter(None, (facts.get(row), doubt.message)))
        for row in numbers:
            if tuple(draft.facts[row - 1][:3]) in draft.known:
                facts[row] = " ".join(filter(None, (facts.get(row), KNOWN)))
    except InputError as error:
        if error.row:
            facts[error.row] = f"✗ {error.message}"
    try:
        parse_prompt_rows(_blanked(draft.prompts, PROMPT_SAYS), PROMPTS_TABLE)
    except InputError as error:
        if error.row:
            prompts[error.row] = f"✗ {error.message}"
    return facts, prompts


def lacks_of(draft: Draft) -> list[Lack]:
    """What the wordings lack, whatever the facts; nothing while one of them is at fault."""
    rows = draft.filled_prompts
    relations = draft.relations or Counter(row[0] for row in rows)
    try:
        prompts = parse_prompt_rows(rows, PROMPTS_TABLE)
    except InputError:  # `notes_of` says it beside its row
        return []
    return diagnose_prompts(prompts, [name for name in relations if name])


def names_of(draft: Draft) -> RelationNames:
    """Knows the internal names that are taken, with their labels."""
    names = RelationNames()
    for name in (*draft.relations, *draft.labels):
        if RELATION_NAME.fullmatch(name):
            names.of(name, draft.labels.get(name, ""))
    return names


def _blanked(rows: Rows, says: int) -> Rows:
    # Their place is kept, so that an error counts rows as the table shows them.
    return tuple(row if any(row[says:]) else ("",) * len(row) for row in rows)
