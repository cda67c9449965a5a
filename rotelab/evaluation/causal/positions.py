"""Which place a token has in a prompt: before the subject, in it, after it, at the end."""

from __future__ import annotations

from collections.abc import Sequence

ROLES = ("before the subject", "subject, first", "subject, last", "after the subject", "last")
"""The places that are compared over many prompts, from the beginning of a prompt to its end."""


def pieces_of(tokenizer, ids: Sequence[int]) -> list[str]:
    """Each token of a prompt as a person reads it; blanks and line ends are made visible."""
    found = [tokenizer.decode([number]) for number in ids]
    return [piece.replace("\n", "⏎").strip() or "␣" for piece in found]


def roles_of(tokenizer, ids: Sequence[int], subject: str) -> dict[str, int]:
    """The position of each of `ROLES` in a prompt; one that it lacks is left out.

    The first token, the separator, is none of them: every prompt begins with it.

    Args:
        tokenizer: the model's.
        ids: the prompt, with the separator.
        subject: the name that it is about; the last time that it is there counts.
    """
    ends = [len(tokenizer.decode(ids[1 : i + 1])) for i in range(len(ids))]
    text = tokenizer.decode(ids[1:])
    start = text.rfind(subject)
    last = len(ids) - 1
    found = {"last": last}
    if start < 0:
        return found
    stop = start + len(subject)
    inside = [i for i in range(1, len(ids)) if ends[i] > start and ends[i - 1] < stop]
    inside = [i for i in inside if i < last]
    if not inside:
        return found
    if inside[0] > 1:
        found["before the subject"] = inside[0] - 1
    found |= {"subject, first": inside[0], "subject, last": inside[-1]}
    if inside[-1] + 1 < last:
        found["after the subject"] = inside[-1] + 1
    return found
