"""Which learned names a question has in it, and which it nearly has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from rotelab.facts.names import normalize, stands_in, without_accents
from rotelab.facts.packs import Pack

NEAR = 0.8
"""How alike (`difflib` ratio) a typed name must be to a learned one to be offered instead."""


def alike(text: str) -> str:
    """A text as questions and names are compared: as `names.normalize`, without accents."""
    return without_accents(normalize(text))


def subjects_in(text: str, pack: Pack) -> list[str]:
    """The subjects that a text names, as they were learned.

    Case, accents and kinds of apostrophes do not matter, unless two subjects differ by accents
    alone. A name that is part of a longer one does not count.
    """
    subjects = dict.fromkeys(fact.subject for fact in pack.facts)
    for form in (normalize, alike):
        asked = form(text)
        named = {name: form(name) for name in subjects}
        named = {name: said for name, said in named.items() if stands_in(said, asked)}
        found = [
            name
            for name, said in named.items()
            if not any(said != other and said in other for other in named.values())
        ]
        if found:
            return found
    return []


def near_subject(text: str, subjects: Sequence[str]) -> tuple[str, str]:
    """The learned subject that a part of a text resembles most, and the text with it put right.

    Args:
        text: a question that names none of the subjects.
        subjects: the learned ones.

    Returns:
        Two empty texts where none is alike enough, or two are as like it as each other.
    """
    words = list(re.finditer(r"[^\s,;:!?\"“”()\[\]]+", text))
    best: list[tuple[float, str, int, int]] = []
    for subject in dict.fromkeys(subjects):
        name = alike(subject)
        matcher = SequenceMatcher(None, "", name, autojunk=False)
        length = len(name.split())
        for size in {max(1, length - 1), length, length + 1}:
            for first in range(len(words) - size + 1):
                start, end = words[first].start(), words[first + size - 1].end()
                typed = re.sub(r"['’]s?$|\.$", "", text[start:end])
                if abs(len(typed) - len(name)) > 3:
                    continue
                matcher.set_seq1(alike(typed))
                if matcher.quick_ratio() >= NEAR and (ratio := matcher.ratio()) >= NEAR:
                    best.append((ratio, subject, start, start + len(typed)))
    best.sort(key=lambda found: -found[0])
    others = [found for found in best if found[1] != best[0][1]] if best else []
    if not best or (others and others[0][0] == best[0][0]):
        return "", ""
    _ratio, subject, start, end = best[0]
    return subject, text[:start] + subject + text[end:]


def respelled(text: str, subjects: Sequence[str]) -> str:
    """The text with the subjects spelled as they were learned; empty where they are."""
    found = text
    for subject in subjects:
        if subject in found:
            continue
        compared = alike(subject)
        words = list(re.finditer(r"\S+", found))
        for first in range(len(words)):
            for last in range(first, len(words)):
                start, end = words[first].start(), words[last].end()
                typed = re.sub(r"['’]s?\W*$|\W+$", "", found[start:end], flags=re.IGNORECASE)
                if alike(typed) == compared:
                    found = found[:start] + subject + found[start + len(typed) :]
                    break
            if subject in found:
                break
    return found if found != text else ""
