"""A file that was uploaded but not taken in yet: what it holds, as its columns are chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rotelab.errors import LabError
from rotelab.facts.formats.tables import Table
from rotelab.facts.reading.columns import Columns, guess
from rotelab.facts.reading.files import open_tables
from rotelab.facts.reading.importer import Imported, read_tables
from rotelab.facts.reading.notes import Options
from rotelab.ui.facts.draft import (
    Draft,
    Rows,
    fact_rows,
    old_of,
    prompt_row,
    with_wordings,
)
from rotelab.ui.facts.starter import with_starter_wordings
from rotelab.ui.i18n import N_, _

ADVICE = (
    (r"Or mend such cells on the way with --mend\.( \(--as-is takes it as it stands\.\))?",
     N_("Or tick “Mend damaged cells”.")),
    (r"Say which one it is, such as --map \w+=COLUMN\.", N_("Choose it above.")),
    (r"Say another with --relation\.", N_("Write another above.")),
    (r" \(--further first leaves it out\.\)", ""),
    (r"or name (the|its) encoding with --encoding\.", N_("or choose the encoding above.")),
    (r"or name it with --encoding\.", N_("or choose the encoding above.")),
    (r"say so: --map aliases=COLUMN\.", N_("choose the column under “Also right”.")),
    (r"Take the first of each relation with --take, or some relations with --only\.",
     N_("Take fewer facts of each relation.")),
    (r"--mend removes it\.", N_("“Mend damaged cells” removes it.")),
)  # fmt: skip
"""What the command line advises, and what the page says instead."""

SIGNS = {"further": "--further", "take": "--take", "mend": "--mend", "encoding": "--encoding"}
"""By what in a doubt or refusal an option is known to matter."""

MANY = 1000
"""In a file of more rows than this, a person may want some of the facts only."""

CHOSEN = ("subject", "object", "relation", "aliases")
"""The parts of facts whose columns a person chooses."""


@dataclass(frozen=True)
class Incoming:
    """An uploaded file.

    Args:
        path: where the upload lies.
        tables: what it holds.
        options: what was chosen so far.
        imported: what would be taken in; None if it can't be.
        fault: why it can't be, as a sentence.
    """

    path: str
    tables: tuple[Table, ...]
    options: Options = field(default_factory=Options)
    imported: Imported | None = None
    fault: str = ""

    @property
    def main(self) -> Table:
        """The table whose columns are chosen: the first of facts, or the first of all."""
        kinds = ((table, guess(table).kind) for table in self.tables)
        return next((table for table, kind in kinds if kind == "facts"), self.tables[0])

    @property
    def asks(self) -> set[str]:
        """The options that matter for this file: others need not be shown."""
        said = " ".join([self.fault, *map(str, self.imported.doubts if self.imported else ())])
        options = self.options
        asked = {name for name, sign in SIGNS.items() if sign in said}
        if len(self.main.records) > MANY:
            asked.add("take")
        if self.main.guessed:
            asked.add("encoding")
        usual = Options()
        return asked | {
            name
            for name, field_ in (("further", "further"), ("take", "take"), ("mend", "faults"),
                                 ("encoding", "encoding"))
            if getattr(options, field_) != getattr(usual, field_)
        }  # fmt: skip

    @property
    def columns(self) -> Columns:
        """What the columns of that table hold, as chosen or recognised."""
        here = {p: c for p, c in self.options.columns.items() if not c or c in self.main.columns}
        return guess(self.main, here)


def for_the_page(sentence: str) -> str:
    """A sentence about a file, with the page's own remedies for those of the command line."""
    for pattern, instead in ADVICE:
        sentence = re.sub(pattern, _(instead) if instead else "", sentence)
    return sentence


def opened(path: str) -> Incoming:
    """An uploaded file as it is recognised.

    Raises:
        LabError: it can't be read.
    """
    return tried(Incoming(path, tuple(open_tables(Path(path)))))


def tried(incoming: Incoming) -> Incoming:
    """The file with what would be taken in as things are chosen, or why that can't be."""
    try:
        imported = read_tables(incoming.tables, incoming.options)
        return replace(incoming, imported=imported, fault="")
    except LabError as error:
        return replace(incoming, imported=None, fault=str(error))


def chosen(incoming: Incoming, columns: Mapping[str, str], **choices) -> Incoming:
    """The file with other choices.

    Args:
        incoming: the file as it was.
        columns: the column of each of the parts `CHOSEN`; empty for none.
        choices: other fields of `Options`.

    Raises:
        LabError: it can't be read in the encoding that is chosen.
    """
    guessed = guess(incoming.main)
    said = {part: column for part, column in columns.items() if column != guessed.first(part)}
    options = replace(incoming.options, columns=said, **choices)
    if options == incoming.options:
        return incoming
    if options.encoding != incoming.options.encoding:
        tables = open_tables(Path(incoming.path), options.encoding)
        incoming = replace(incoming, tables=tuple(tables))
    return tried(replace(incoming, options=options))


@dataclass(frozen=True)
class Taken:
    """A draft with what a file held.

    Args:
        draft: the draft; not saved.
        facts, prompts: how many of each the file held.
        shipped: the relations whose wordings came from the lab's packs.
        made: those that got a starter set, made from their words.
    """

    draft: Draft
    facts: int
    prompts: int
    shipped: tuple[str, ...]
    made: tuple[str, ...]


def taken(draft: Draft, incoming: Incoming, add: bool) -> Taken:
    """Puts what a file holds into the draft.

    Args:
        draft: what stands in the tables.
        incoming: the file.
        add: whether its rows are added; else they replace those of the tables that it has rows for.

    Raises:
        LabError: it can't be taken in as things are chosen.
    """
    if incoming.imported is None:
        raise LabError(incoming.fault)
    imported = incoming.imported
    facts, prompts = fact_rows(imported.facts or ()), tuple(map(prompt_row, imported.prompts))
    changes = {}
    if imported.facts is not None:
        changes |= {
            "facts": _joined(draft.filled_facts if add else (), facts),
            "labels": {**(draft.labels if add else {}), **imported.facts.labels},
            "old": {**(draft.old if add else {}), **old_of(imported.facts)},
        }
    before = draft.filled_prompts
    if prompts:
        changes["prompts"] = _joined(before if add else (), prompts)
    elif facts and not add:  # wordings of other relations would only lie about
        here = {row[0] for row in facts}
        changes["prompts"] = tuple(row for row in before if row[0] in here)
    draft, shipped = with_wordings(replace(draft, relation="", **changes))
    made: list[str] = []
    if imported.facts is not None:
        draft, made = with_starter_wordings(draft)
    return Taken(draft, len(facts), len(prompts), tuple(shipped), tuple(made))


def _joined(before: Rows, rows: Rows) -> Rows:
    there = set(before)
    return before + tuple(row for row in rows if row not in there)
