"""How an experiment's result is stored as JSON values, and read back in its own type."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints


def as_plain(value: Any) -> Any:
    """The value with NaN and infinity as None, because JSON knows neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: as_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(part) for part in value]
    return value


def as_typed(kind: Any, value: Any) -> Any:
    """The reverse of `asdict` and `as_plain` for dataclasses of values and tuples of such.

    Raises:
        TypeError, KeyError, ValueError, AttributeError: the values are of another type.
    """
    if is_dataclass(kind):
        kinds = get_type_hints(kind)
        return kind(**{f.name: as_typed(kinds[f.name], value[f.name]) for f in fields(kind)})
    if kind is float:
        return math.nan if value is None else float(value)
    if getattr(kind, "__origin__", None) is tuple:
        return tuple(as_typed(get_args(kind)[0], part) for part in value)
    return value
