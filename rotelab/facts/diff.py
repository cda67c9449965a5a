"""The differences between two versions of a fact set, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from rotelab.facts.packs import Pack

NAMED = 3
"""How many facts or wordings are named; any others are counted."""


def what_changed(before: Pack, after: Pack) -> str:
    """The changes from one version to a later one, in a sentence that names some of them.

    Facts with the same relation and subject are the same fact, even if the object changed.

    Args:
        before: the version that both people had opened.
        after: the version that one of them has saved meanwhile.

    Returns:
        Such as `It adds mother of Ann (Eve); changes mother of Bob from Sue to Liz.`; empty if the
        two are equal.
    """
    old = {(f.relation, f.subject): f.object for f in before.facts}
    new = {(f.relation, f.subject): f.object for f in after.facts}
    changed = [key for key in new if key in old and old[key] != new[key]]
    also = {key: fact for key, fact in _also(after).items() if key in old and key not in changed}
    other = [key for key, more in also.items() if _also(before)[key] != more]
    parts = [
        _part("adds", [f"{_fact(key)} ({new[key]})" for key in new if key not in old], "facts"),
        _part("changes", [f"{_fact(k)} from {old[k]} to {new[k]}" for k in changed], "facts"),
        _part("changes aliases of", [_fact(key) for key in other], "facts"),
        _part("removes", [_fact(key) for key in old if key not in new], "facts"),
    ]
    first, then = list(before.prompts), list(after.prompts)
    parts.append(_part("adds", [f"“{p.text}”" for p in then if p not in first], "wordings"))
    parts.append(_part("removes", [f"“{p.text}”" for p in first if p not in then], "wordings"))
    said = "; ".join(part for part in parts if part)
    return f"It {said}." if said else ""


def _also(pack: Pack) -> dict[tuple[str, str], tuple[tuple[str, ...], str]]:
    """The aliases and the old answer of each fact."""
    return {(f.relation, f.subject): (f.aliases, f.old) for f in pack.facts}


def _fact(key: tuple[str, str]) -> str:
    relation, subject = key
    return f"{relation} of {subject}"


def _part(verb: str, named: Sequence[str], kind: str) -> str:
    if not named:
        return ""
    more = len(named) - NAMED
    rest = f" and {more} more {kind if more > 1 else kind[:-1]}" if more > 0 else ""
    return f"{verb} {', '.join(named[:NAMED])}{rest}"
