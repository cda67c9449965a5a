"""A fact set while it is being edited, as plain rows; without gradio.

A table on the page shows all rows or those of one relation. What comes back from it is fitted into
the whole here, so that a filter never loses a row and an unchanged set stays unchanged.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rotelab.errors import InputError, LabError
from rotelab.facts import synthetic
from rotelab.facts.csv_text import parse_table, read_bytes, write_table
from rotelab.facts.diagnosis import Lack, diagnose_prompts
from rotelab.facts.facts import COLUMNS as FACT_COLUMNS
from rotelab.facts.facts import Fact
from rotelab.facts.facts_importer import parse_fact_rows, parse_facts
from rotelab.facts.packs import Pack, load_pack, shipped_packs
from rotelab.facts.prompts import COLUMNS as PROMPT_COLUMNS
from rotelab.facts.prompts import ROLES, parse_prompt_rows, parse_prompts
from rotelab.registry import fact_set_name
from rotelab.runs.lab import Lab

Rows = tuple[tuple[str, ...], ...]

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
        facts: (relation, subject, object) rows, unfinished ones included.
        prompts: (relation, role, language, text) rows.
        opened: both as they were opened, to know whether anything changed.
        relation: the one relation that the tables show; empty for all.
        known: facts that a base model answered in some run before any training.
        edition: marks what the page was sent last, so that a table that is behind is noticed.
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

    @property
    def changed(self) -> bool:
        """Whether there are changes that are not saved."""
        return (filled(self.facts), filled(self.prompts)) != self.opened

    @property
    def relations(self) -> Counter[str]:
        """How many facts each relation has, in the order in which they first appear."""
        return Counter(row[0] for row in filled(self.facts))

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
            facts=merged(self.facts, tidy(facts, len(FACT_COLUMNS)), self.relation),
            prompts=merged(self.prompts, tidy(prompts, len(PROMPT_COLUMNS)), self.relation),
        )


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
    return Draft(name, version or newest, newest, facts, prompts, opened, known=known)


def empty_draft(relation: str, rows: int = 5) -> Draft:
    """A new set: empty rows to type names into, and the relation's own wordings.

    Args:
        relation: a shipped pack's only relation.
        rows: how many empty rows.
    """
    prompts = prompt_rows(load_pack(relation))
    return Draft(facts=((relation, "", ""),) * rows, prompts=prompts, opened=((), prompts))


def fact_rows(facts: Iterable[Fact]) -> Rows:
    """Facts as rows of a table."""
    return tuple((fact.relation, fact.subject, fact.object) for fact in facts)


def prompt_rows(pack: Pack) -> Rows:
    """A pack's wordings as rows of a table."""
    return tuple((p.relation, p.role, p.language, p.text) for p in pack.prompts)


def tidy(rows: Iterable[Sequence], width: int) -> Rows:
    """What a table on the page sends: missing and empty cells as "", every row equally wide."""
    clean = []
    for row in rows or ():
        cells = ["" if cell is None else str(cell).strip() for cell in list(row)[:width]]
        clean.append(tuple(cells + [""] * (width - len(cells))))
    return tuple(clean)


def begun(row: tuple[str, ...]) -> bool:
    """Whether a row says anything: a fact its subject or object, a wording its text."""
    return any(row[1:]) if len(row) == len(FACT_COLUMNS) else any(row[3:])


def filled(rows: Rows) -> Rows:
    """The rows that say anything; the others are dropped when the set is saved."""
    return tuple(row for row in rows if begun(row))


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
    facts = parse_fact_rows(_blanked(draft.facts), FACTS_TABLE)
    prompts = parse_prompt_rows(_blanked(draft.prompts), PROMPTS_TABLE)
    pack = Pack(name, facts, prompts)
    pack.check()
    return pack


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
        opened=(facts, prompts),
    )  # fmt: skip
    return saved, is_new


def import_file(draft: Draft, path: str, relation: str, add: bool) -> tuple[Draft, int, str]:
    """Reads a CSV file of facts or of wordings into the draft; its header says which it is.

    Args:
        draft: what stands in the tables.
        path: the file.
        relation: the relation of the facts, for the columns of the paper's own files.
        add: whether rows are added; else they replace those of that table.

    Returns:
        The new draft, how many rows were read, and “facts” or “wordings”.

    Raises:
        InputError: the file is not as it should be; the draft is untouched.
    """
    source = Path(path).name
    data = read_bytes(path)
    header, _ = parse_table(data, source)
    if "text" in header or "role" in header:
        rows = tuple((p.relation, p.role, p.language, p.text) for p in parse_prompts(data, source))
        before = filled(draft.prompts) if add else ()
        draft = replace(draft, prompts=_joined(before, rows), relation="")
        return draft, len(rows), "wordings"
    rows = fact_rows(parse_facts(data, source, relation.strip()))
    before = filled(draft.facts) if add else ()
    return replace(draft, facts=_joined(before, rows), relation=""), len(rows), "facts"


def invent_into(draft: Draft, relation: str, count: int, seed: int) -> Draft:
    """Adds invented facts to the draft, none of them like one that is there.

    Raises:
        LabError: that relation or number can't be invented.
    """
    there = [Fact(*row) for row in draft.facts if all(row)]
    new = synthetic.invent(relation, count, seed, there)
    facts = filled(draft.facts) + fact_rows(new)
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
        draft = replace(draft, prompts=filled(draft.prompts) + prompt_rows(load_pack(name)))
    return draft, missing


def notes_of(draft: Draft) -> tuple[dict[int, str], dict[int, str]]:
    """What is to be said beside the rows of the two tables: faults and doubts.

    Returns:
        Two dictionaries from the 1-based row of the whole table to the note.
    """
    facts: dict[int, str] = {}
    prompts: dict[int, str] = {}
    try:
        numbers = [i for i, row in enumerate(draft.facts, 1) if begun(row)]
        checked = parse_fact_rows(_blanked(draft.facts), FACTS_TABLE)
        if len(checked) <= MAX_DOUBTED:
            for doubt in checked.doubts():
                row = numbers[doubt.row - 1]
                facts[row] = " ".join(filter(None, (facts.get(row), doubt.message)))
        for row in numbers:
            if tuple(draft.facts[row - 1]) in draft.known:
                facts[row] = " ".join(filter(None, (facts.get(row), KNOWN)))
    except InputError as error:
        if error.row:
            facts[error.row] = f"✗ {error.message}"
    try:
        parse_prompt_rows(_blanked(draft.prompts), PROMPTS_TABLE)
    except InputError as error:
        if error.row:
            prompts[error.row] = f"✗ {error.message}"
    return facts, prompts


def lacks_of(draft: Draft) -> list[Lack]:
    """What the wordings lack, whatever the facts; nothing while one of them is at fault."""
    rows = filled(draft.prompts)
    relations = draft.relations or Counter(row[0] for row in rows)
    try:
        prompts = parse_prompt_rows(rows, PROMPTS_TABLE)
    except InputError:  # `notes_of` says it beside its row
        return []
    return diagnose_prompts(prompts, [name for name in relations if name])


def role_counts(draft: Draft) -> dict[str, int]:
    """How many wordings of each role stand in the draft."""
    counts = Counter(row[1] for row in filled(draft.prompts))
    return {role: counts[role] for role in ROLES}


def export_csv(lab: Lab, draft: Draft) -> tuple[Path, Path]:
    """Writes facts and wordings, as they stand, to files of the exports folder.

    Raises:
        LabError: the files can't be written.
    """
    stem = re.sub(r"[^\w-]+", "_", draft.name).strip("_") or "facts"
    try:
        # A folder of its own, so that two people's exports never overwrite each other.
        tables = {
            f"{stem}-facts.csv": write_table(FACT_COLUMNS, filled(draft.facts)),
            f"{stem}-prompts.csv": write_table(PROMPT_COLUMNS, filled(draft.prompts)),
        }
        folder = lab.storage.exports / f"facts-{_digest(*tables.values())}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in tables.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(f"The files can't be written ({error.strerror}). Free some disk.") from error
    facts, prompts = (folder / name for name in tables)
    return facts, prompts


def _blanked(rows: Rows) -> Rows:
    # Their place is kept, so that an error counts rows as the table shows them.
    return tuple(row if begun(row) else ("",) * len(row) for row in rows)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _joined(before: Rows, rows: Rows) -> Rows:
    there = set(before)
    return before + tuple(row for row in rows if row not in there)
