"""Collects facts and wordings from tables, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rotelab.errors import InputError
from rotelab.facts.facts import MAX_ALIASES, MAX_CELL, Fact
from rotelab.facts.facts_importer import same_but_for_form
from rotelab.facts.formats.lists import from_cell
from rotelab.facts.formats.tables import Cell, Record, Table
from rotelab.facts.names import spelled
from rotelab.facts.prompts import PromptTemplate, Role
from rotelab.facts.reading.cells import Name, Place, looks_escaped, name_in
from rotelab.facts.reading.columns import DISTRACTORS, LISTS, Columns, plain
from rotelab.facts.reading.notes import Notes, Options
from rotelab.facts.reading.relations import RelationNames, relation_of
from rotelab.facts.reading.wordings import ROLES, WordingBook, about, taken, template

SAID_OF: tuple[Role, ...] = ("train", "test", "unrelated")
"""Parts of a table of facts that hold wordings; each is the role of its wordings too."""

BAD_WORDING = (
    "Wordings left out because they do not name their subject once, or go on behind the object: "
    "{n}."
)


class KeptFact(NamedTuple):
    """One fact, to which later rows may add aliases."""

    place: Place
    relation: str
    subject: Name
    object: Name
    aliases: dict[str, None]
    old: str

    def fact(self) -> Fact:
        """The fact."""
        aliases = tuple(self.aliases)
        return Fact(self.relation, self.subject.text, self.object.text, aliases, self.old)


class Reader:
    """Takes in one table after the other.

    Args:
        options: what the person says.
    """

    def __init__(self, options: Options):
        self.options = options
        self.names = RelationNames()
        self.notes = Notes()
        self.wordings = WordingBook()
        self.kept: dict[tuple[str, str], KeptFact] = {}
        self._counts: dict[str, int] = {}

    def read(self, table: Table, columns: Columns) -> None:
        """Takes in one table.

        Raises:
            InputError: the first cell that can't be used, with its row and column.
        """
        about_table(table, columns, self.notes)
        for record in table.records:
            row = _Row(table, columns, record, self.options, self.notes)
            if columns.kind == "wordings":
                self._wording(row)
            else:
                self._fact(row)
        for fact in self.kept.values():
            if len(fact.aliases) > MAX_ALIASES and fact.place.source == table.source:
                self.notes.doubt(
                    *fact.place,
                    f"{fact.object.text!r} has {len(fact.aliases)} aliases: {MAX_ALIASES} stay.",
                )
                for alias in list(fact.aliases)[MAX_ALIASES:]:
                    del fact.aliases[alias]
        self.notes.end_table(table)

    def _fact(self, row: _Row) -> None:
        subject = row.name("subject")
        objects = row.names("object") or [row.name("object")]
        said = list(row.said_about(subject))
        relation = self._relation(row, said)
        only = self.options.only
        if only and not {relation, self.names.label(relation)} & set(only):
            return
        others = [*objects[1:], *row.names("aliases")]
        old = row.optional("old")
        fact = KeptFact(
            row.place("subject"),
            relation,
            subject,
            objects[0],
            dict.fromkeys(name.text for name in others if name.text != objects[0].text),
            old if old != objects[0].text else "",
        )
        key = (relation, spelled(subject.raw))
        if key in self.kept:
            self._again(row, self.kept[key], fact)
        else:
            count = self._counts.get(relation, 0)
            if self.options.take and count >= self.options.take:
                return
            self._counts[relation] = count + 1
            self.kept[key] = fact
        for role, text in said:
            left = self.wordings.offer(PromptTemplate(relation, role, "en", text))
            if left:
                self.notes.leave(left)

    def _again(self, row: _Row, first: KeptFact, fact: KeptFact) -> None:
        """A subject that has a fact of the relation already."""
        if first.subject.raw != fact.subject.raw:
            place = row.place("subject")
            raise same_but_for_form(*place, fact.subject.raw, first.place.row, first.subject.raw)
        if first.object.text == fact.object.text:
            first.aliases.update(fact.aliases)
            self.notes.leave("Rows left out because they repeat a fact: {n}.")
            return
        if self.options.further == "first":
            self.notes.leave("Rows left out because they have a further object of a subject: {n}.")
            return
        first.aliases.update({fact.object.text: None} | fact.aliases)
        first.aliases.pop(first.object.text, None)
        row.doubt(
            "object",
            f"{fact.object.text!r} becomes another right answer for {fact.subject.text!r}, whose "
            f"first is {first.object.text!r}. (--further first leaves it out.)",
        )

    def _relation(self, row: _Row, said: list[tuple[Role, str]]) -> str:
        """The internal name of a row's relation."""
        if self.options.relation:
            return self.names.of(self.options.relation)
        if row.columns.first("relation"):
            said, label = row.name("relation").text, row.optional("label")
            for part, text in (("relation", said), ("label", label)):
                if len(text) > MAX_CELL:  # it would be the label, a column the file need not have
                    raise row.place(part).error(
                        f"has {len(text):,} characters; at most {MAX_CELL} are allowed."
                    )
            return self.names.of(said, label)
        if self.options.usual_relation:
            return self.names.of(self.options.usual_relation)
        taught = next((text for role, text in said if role == "train"), "")
        if taught:
            return self.names.of_wording(taught)
        name = relation_of(row.table.source)
        self.notes.doubt(
            row.table.source, None, "relation",
            f"the file names no relation: {name!r} is taken, after its name. Say another with "
            "--relation.",
        )  # fmt: skip
        return self.names.of(name)

    def _wording(self, row: _Row) -> None:
        """One row of a table of wordings."""
        text = row.name("text").text
        relation = self._relation(row, [])
        made = template(text)
        if made is None:
            self.notes.leave("Wordings left out because they go on behind the object: {n}.")
            return
        role = row.optional("role").casefold()
        prompt = PromptTemplate(
            relation,
            ROLES.get(role, role) or self.wordings.next_role(relation),
            row.optional("language") or "en",
            made,
        )
        try:
            repeated = self.wordings.add(prompt)
        except InputError as error:
            raise row.place(error.column).error(error.message) from None
        if repeated:
            self.notes.leave("Rows left out because they repeat a wording: {n}.")


class _Row:
    """One row of a table, read by parts."""

    def __init__(
        self, table: Table, columns: Columns, record: Record, options: Options, notes: Notes
    ):
        self.table, self.columns = table, columns
        self._record, self._options, self._notes = record, options, notes

    def place(self, part: str) -> Place:
        """Where the cell of a part stands."""
        return Place(self.table.source, self._record.number, self.columns.first(part) or part)

    def doubt(self, part: str, message: str) -> None:
        """Notes a doubt about the cell of a part."""
        self._notes.doubt(*self.place(part), message)

    def name(self, part: str) -> Name:
        """The text of a part.

        Raises:
            InputError: it is empty or can't be used.
        """
        found = self.names(part)
        return found[0] if found else name_in("", self.place(part))

    def optional(self, part: str) -> str:
        """The text of a part; empty for none."""
        found = self.names(part)
        return found[0].text if found else ""

    def names(self, part: str) -> list[Name]:
        """The texts of a part, none twice."""
        found: dict[str, Name] = {}
        for column in self.columns.of.get(part, ()):
            listed = part == "aliases" or plain(column) in LISTS
            for text in _texts(self._record.cells.get(column, ""), listed):
                if looks_escaped(text.strip()) and self._options.faults != "mend":
                    self._notes.doubt(
                        self.table.source, self._record.number, column,
                        f"{text[:40]!r} begins with an apostrophe before a formula's sign, as some "
                        "programs write it to protect spreadsheets. It is kept; --mend removes it.",
                    )  # fmt: skip
                place = Place(self.table.source, self._record.number, column)
                name = name_in(text, place, self._options.faults)
                found.setdefault(name.text, name)
        return list(found.values())

    def said_about(self, subject: Name) -> Iterator[tuple[Role, str]]:
        """The wordings beside a fact, as templates, each with its role."""
        for part in SAID_OF:
            for number, column in enumerate(self.columns.of.get(part, ())):
                # A second wording of the same kind is one to test with.
                role: Role = "test" if part == "train" and number else part
                for text in _texts(self._record.cells.get(column, ""), listed=False):
                    place = Place(self.table.source, self._record.number, column)
                    made = about(name_in(text, place, "mend").text, subject.text)
                    if made is not None and taken(made, role):
                        yield role, made
                    else:
                        self._notes.leave(BAD_WORDING)


def about_table(table: Table, columns: Columns, notes: Notes) -> None:
    """Notes what is doubtful about a whole table."""
    if table.guessed:
        cells = (cell for record in table.records for cell in record.cells.values())
        sample = next((c for c in cells if isinstance(c, str) and not c.isascii()), "")
        notes.doubt(
            table.source, None, "",
            f"the encoding {table.encoding} is a guess: look whether {sample[:40]!r} is right, or "
            "name the encoding with --encoding.",
        )  # fmt: skip
    for said in table.said:
        notes.doubt(table.source, None, "", said)
    if columns.index:
        name = "without a name" if columns.index == "#" else repr(columns.index)
        notes.doubt(table.source, None, "", f"the column {name} only numbers the rows: left out.")
    for column in columns.unused:
        if plain(column) in DISTRACTORS:
            notes.doubt(
                table.source, None, column,
                "left out: the paper's files list wrong answers here, for a multiple choice; the "
                "lab draws its own. If yours are right answers, say so: --map aliases=COLUMN.",
            )  # fmt: skip


def _texts(cell: Cell, listed: bool) -> Iterator[str]:
    """The texts in a cell; `listed`: a text may hold several."""
    if isinstance(cell, list):
        for item in cell:
            yield from _inside(item)
    elif cell.strip():
        yield from from_cell(cell) if listed else (cell,)


def _inside(item: object) -> Iterator[str]:
    if isinstance(item, str):
        if item.strip():
            yield item
    elif isinstance(item, list):
        for inner in item:
            yield from _inside(inner)
    elif isinstance(item, Mapping):
        yield from _inside(item.get("prompt"))  # EasyEdit's locality
