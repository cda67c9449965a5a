"""Lists of names in one cell of a table, such as the aliases of an object."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable

BETWEEN = "|"
"""Separates names in a cell that is not a list of JSON or Python."""

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


def as_cell(names: Iterable[str]) -> str:
    """Names as one cell, which `from_cell` reads back whatever they are; empty for none."""
    listed = list(names)
    return json.dumps(listed, ensure_ascii=False) if listed else ""


def as_typed(names: Iterable[str]) -> str:
    """Names as a person would type them into one cell, where that can be read back."""
    listed = list(names)
    typed = f" {BETWEEN} ".join(listed)
    return typed if from_cell(typed) == listed else as_cell(listed)


def from_cell(cell: str) -> list[str]:
    """The names in a cell: a list of JSON, Python or NumPy, or names with `|` between them."""
    cell = cell.strip()
    if cell.startswith("[") and cell.endswith("]"):
        found = _json_list(cell)
        if found is None:
            found = _python_list(cell)
        if found is not None:
            return found
    return [name.strip() for name in cell.split(BETWEEN) if name.strip()]


def _json_list(cell: str) -> list[str] | None:
    try:
        found = json.loads(cell, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(name, str) for name in found):
        return None
    return [name for name in found if name.strip()]


def _python_list(cell: str) -> list[str] | None:
    """`['a', "b's"]` as Python writes it, or `['a' 'b']` as NumPy does."""
    inner = cell[1:-1]
    if _QUOTED.sub("", inner).replace(",", "").strip():
        return None  # something stands outside the quotes
    try:
        found = [ast.literal_eval(text) for text in _QUOTED.findall(inner)]
    except (ValueError, SyntaxError):
        return None
    return [name for name in found if name.strip()]
