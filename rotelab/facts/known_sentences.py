"""Sentences about real things, by which training keeps what the model knew.

Beginnings that most base models can complete. None of their facts, and none of their forms, is in
the quiz that measures forgetting (`assets/damage/quiz.csv`); a test checks this.
"""

from __future__ import annotations

import functools

from rotelab.facts.csv_text import read_bytes
from rotelab.storage import ASSETS

FILE = ASSETS / "known" / "prompts.txt"


@functools.cache
def known_sentences() -> tuple[str, ...]:
    """The beginnings, in the order of the file.

    Raises:
        InputError: the file is missing.
    """
    lines = read_bytes(FILE).decode().splitlines()
    return tuple(line.strip() for line in lines if line.strip())
