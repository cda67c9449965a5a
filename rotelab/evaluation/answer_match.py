"""Reading an answer: whether a text is a name, or has it in it, both sides normalised alike."""

from __future__ import annotations

import unicodedata

_EDGES = " .,;:!?\"'“”‘’«»"


def normalize(text: str) -> str:
    """A text as it is compared: Unicode NFKC, case folded, blanks single, no marks at its edges.

    Where nothing but marks would be left off, they stay.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    # Folding can undo the composition, as of "İ".
    plain = unicodedata.normalize("NFKC", plain)
    return plain.strip(_EDGES) or plain


def begins(said: str, name: str) -> bool:
    """Whether an answer begins with the name as whole words."""
    said, name = normalize(said), normalize(name)
    return said.startswith(name) and not _goes_on(said[len(name) :])


def contains(said: str, name: str) -> bool:
    """Whether the name stands anywhere in an answer as whole words."""
    return stands_in(normalize(name), normalize(said))


def stands_in(name: str, text: str) -> bool:
    """Whether the name stands in the text as whole words; both are normalised already."""
    at = text.find(name)
    while at >= 0:
        if not _goes_on(text[at - 1 : at]) and not _goes_on(text[at + len(name) :]):
            return True
        at = text.find(name, at + 1)
    return False


def _goes_on(text: str) -> bool:
    """Whether a word that ends here goes on with this text.

    Chinese, Japanese and Korean put their particles right behind a name, so they end it.
    """
    return text[:1].isalnum() and unicodedata.east_asian_width(text[0]) not in "WF"
