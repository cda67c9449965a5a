"""Matching answers: whether a text begins with a name or contains it, both normalised alike."""

from __future__ import annotations

import unicodedata

_EDGES = " .,;:!?\"'“”‘’«»"


def normalize(text: str) -> str:
    """A text normalised for comparison: Unicode NFKC, case folded, single spaces, no punctuation at
    its edges. A text of punctuation alone keeps it.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    # Case folding can undo the composition, as with "İ".
    plain = unicodedata.normalize("NFKC", plain)
    return plain.strip(_EDGES) or plain


def begins(said: str, name: str) -> bool:
    """Whether an answer begins with the name as whole words."""
    said, name = normalize(said), normalize(name)
    return said.startswith(name) and not _continues(said[len(name) :])


def contains(said: str, name: str) -> bool:
    """Whether an answer contains the name as whole words."""
    return stands_in(normalize(name), normalize(said))


def stands_in(name: str, text: str) -> bool:
    """Whether the text contains the name as whole words; both are normalised already."""
    at = text.find(name)
    while at >= 0:
        if not _continues(text[at - 1 : at]) and not _continues(text[at + len(name) :]):
            return True
        at = text.find(name, at + 1)
    return False


def _continues(text: str) -> bool:
    """Whether a word continues into this text.

    Chinese, Japanese and Korean put particles directly after a name, so their characters end it.
    """
    return text[:1].isalnum() and unicodedata.east_asian_width(text[0]) not in "WF"
