"""When two names are the same: the one rule that Chat, grading, files and tables share.

Three things may differ between two spellings of a name: its form, which nobody sees (`spelled`
removes it); its case and its marks, which a reader overlooks (`normalize` removes them too); and
the alphabet of its letters, where one alphabet's look like another's (`latin_twin`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_EDGES = " .,;:!?\"'“”‘’«»"

# Soft hyphen, marks of direction, characters without width. Not the joiners: they change how a
# letter or an emoji looks.
_INVISIBLE = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")

_MARKS = str.maketrans(
    dict.fromkeys("‘’ʼʻ′´`", "'") | dict.fromkeys("‐‒–—−", "-") | dict.fromkeys("“”„‟″", '"')
)
"""Apostrophes, dashes and quotes, each kind as one."""


def spelled(text: str) -> str:
    """A text without what nobody sees: composed or not (NFKC), kinds of blanks and how many, marks
    of direction. Case and punctuation stay."""
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    return " ".join(plain.split()) or text


def normalize(text: str) -> str:
    """A text as it is compared: as `spelled`, case folded, one kind of apostrophes, dashes and
    quotes, no punctuation at its edges. A text of punctuation alone keeps it.
    """
    # Case folding can undo the composition, as with "İ".
    plain = unicodedata.normalize("NFKC", spelled(text).casefold()).translate(_MARKS)
    return plain.strip(_EDGES) or plain


def stands_in(name: str, text: str) -> bool:
    """Whether the text contains the name as whole words; both are normalised already."""
    at = text.find(name)
    while at >= 0:
        if not continues(text[at - 1 : at]) and not continues(text[at + len(name) :]):
            return True
        at = text.find(name, at + 1)
    return False


def continues(text: str) -> bool:
    """Whether a word continues into this text.

    Chinese, Japanese and Korean put particles directly after a name, so their characters end it.
    """
    return text[:1].isalnum() and unicodedata.east_asian_width(text[0]) not in "WF"


def without_accents(text: str) -> str:
    """The text without accents and other combining marks."""
    apart = unicodedata.normalize("NFD", text)
    return "".join(char for char in apart if not unicodedata.combining(char))


def latin_twin(name: str) -> str:
    """The name with Latin letters for all letters of other alphabets that look like them; the name
    itself where none does."""
    return name if name.isascii() else "".join(map(_latin, name))


def mixes_alphabets(name: str) -> bool:
    """Whether a word of the name mixes Latin letters with letters that only look like them."""
    words = () if name.isascii() else name.split()
    return any(latin_twin(word) != word and any(_is_latin(char) for char in word) for word in words)


@lru_cache(maxsize=4096)
def _latin(char: str) -> str:
    """The Latin letter that a letter of another alphabet looks like, or the letter itself."""
    if char.isascii() or not char.isalpha() or _is_latin(char):
        return char
    from confusable_homoglyphs import confusables  # a megabyte of tables, rarely needed

    found = confusables.is_confusable(char, greedy=True) or [{"homoglyphs": []}]
    alike = (twin["c"] for twin in found[0]["homoglyphs"])
    return next((c for c in alike if c.isascii() and c.isalpha()), char)


def isolated(name: str) -> str:
    """A name for a label or sentence that runs from left to right: one that is written from right
    to left gets invisible marks around it, so that it turns nothing but itself around."""
    if any(unicodedata.bidirectional(char) in ("R", "AL", "RLE", "RLO", "RLI") for char in name):
        return f"\u2068{name}\u2069"
    return name


def _is_latin(char: str) -> bool:
    return unicodedata.name(char, "").startswith("LATIN ")
