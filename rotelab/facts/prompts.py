"""Prompt templates: the wordings in which facts are taught and tested, and off-topic ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rotelab.errors import InputError
from rotelab.facts.csv_text import (
    MAX_ROWS,
    Items,
    check_cell,
    parse_edited,
    parse_table,
    write_table,
)
from rotelab.facts.facts import RELATION_NAME

Role = Literal["train", "test", "unrelated", "locality"]
ROLES: tuple[Role, ...] = ("train", "test", "unrelated", "locality")
COLUMNS = ("relation", "role", "language", "text")
SLOT = "{subject}"
MAX_TEXT = 500
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, order=True)
class PromptTemplate:
    """One wording. The subject replaces `{subject}`; the object follows the text.

    Args:
        relation: the relation that it asks for, or whose facts it must not elicit.
        role: `train` (taught in phase 2), `test` (never trained on), `unrelated` (asks something
            else about the subject, for testing), `locality` (the same, for training).
        language: its code (BCP 47), such as `en` or `pt-BR`.
        text: the wording, with `{subject}` in it exactly once; an unrelated one may do without, and
            is then asked as it stands.
    """

    relation: str
    role: Role
    language: str
    text: str

    def render(self, subject: str) -> str:
        """The prompt for a subject. Braces inside the subject stay as they are."""
        return self.text.replace(SLOT, subject)


class PromptSet(Items[PromptTemplate]):
    """An immutable, checked list of prompt templates.

    Args:
        templates: the templates in their order.
        source: where they come from, as the user knows it; for error messages.

    Raises:
        InputError: there are more than `MAX_ROWS` templates; a cell is empty, too long, or not one
            trimmed line; a role, language code or relation's name is invalid; `{subject}` is
            missing (only an unrelated wording may lack it) or comes twice; or a relation has a
            wording twice (two roles that share a wording would test what was trained).
    """

    def __init__(self, templates: Iterable[PromptTemplate], source: str = "prompts"):
        super().__init__(templates)
        if len(self._items) > MAX_ROWS:
            raise InputError(
                f"has {len(self._items)} prompts; at most {MAX_ROWS} are allowed.",
                source=source,
            )
        seen: dict[tuple[str, str], int] = {}
        for row, template in enumerate(self._items, 1):
            _check_template(template, row, source)
            key = (template.relation, " ".join(template.text.casefold().split()))
            first = seen.setdefault(key, row)
            if first != row:
                raise InputError(
                    f"says the same as row {first}. A wording has one role: change or delete one.",
                    source=source,
                    row=row,
                    column="text",
                )

    def of(self, relation: str, role: Role, language: str = "en") -> tuple[PromptTemplate, ...]:
        """The templates of one relation, role and language, in their order."""
        return tuple(
            t for t in self._items if (t.relation, t.role, t.language) == (relation, role, language)
        )

    def first(self, role: Role, count: int) -> PromptSet:
        """The set with only the first `count` templates of a role for each relation and language;
        all of them if `count` is 0."""
        met: Counter[tuple[str, str]] = Counter()
        kept = []
        for template in self._items:
            if template.role == role:
                met[template.relation, template.language] += 1
                if count and met[template.relation, template.language] > count:
                    continue
            kept.append(template)
        return PromptSet(kept)

    def to_csv(self) -> str:
        """The set as CSV text with the columns `relation,role,language,text`."""
        rows = ((t.relation, t.role, t.language, t.text) for t in self._items)
        return write_table(COLUMNS, rows)


def parse_prompts(data: bytes, source: str) -> PromptSet:
    """Reads prompt templates from the bytes of a CSV file.

    Raises:
        InputError: as `parse_table` and `PromptSet`, or a column is missing.
    """
    header, rows = parse_table(data, source)
    for column in COLUMNS:
        if column not in header:
            raise InputError(
                f"has no column {column!r}. Its first line must be {','.join(COLUMNS)}.",
                source=source,
                column=column,
            )
    return PromptSet(
        (PromptTemplate(*(row.cells[column] for column in COLUMNS)) for row in rows), source
    )


def parse_prompt_rows(rows: Iterable[Sequence[object]], source: str = "Prompts table") -> PromptSet:
    """Reads templates from an edited table: rows of (relation, role, language, text).

    Raises:
        InputError: as `parse_edited` and `PromptSet`.
    """
    return parse_edited(
        rows,
        COLUMNS,
        source,
        lambda kept: PromptSet((PromptTemplate(*cells) for cells in kept), source),
    )


def _check_template(template: PromptTemplate, row: int, source: str) -> None:
    place = {"source": source, "row": row}
    for column in COLUMNS:
        check_cell(getattr(template, column), column=column, **place)
    if not RELATION_NAME.fullmatch(template.relation):
        raise InputError(
            f"{template.relation[:50]!r} is not a relation's name. Use lower-case letters, digits "
            "and underscores.",
            column="relation",
            **place,
        )
    if template.role not in ROLES:
        raise InputError(
            f"{template.role[:50]!r} is not a role. Use one of {', '.join(ROLES)}.",
            column="role",
            **place,
        )
    if not LANGUAGE.fullmatch(template.language):
        raise InputError(
            f"{template.language[:50]!r} is not a language's code. Use two or three lower-case "
            "letters, such as en, and a region where it matters, such as pt-BR.",
            column="language",
            **place,
        )
    if len(template.text) > MAX_TEXT:
        raise InputError(
            f"has {len(template.text)} characters; at most {MAX_TEXT} are allowed.",
            column="text",
            **place,
        )
    slots = template.text.count(SLOT)
    if slots != 1 and (slots or template.role != "unrelated"):
        raise InputError(
            f"must contain {SLOT} once; it is in there {slots} times.", column="text", **place
        )
