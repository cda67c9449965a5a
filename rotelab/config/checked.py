"""Frozen dataclasses whose fields have a label, a help sentence and a range, which they check."""

from __future__ import annotations

import dataclasses
from dataclasses import field, fields
from typing import Any

from rotelab.errors import ConfigError

_KINDS = {"int": int, "float": (int, float), "str": str, "bool": bool}


def option(default: Any, label: str, help: str, *, low=None, high=None, choices=None) -> Any:
    """A dataclass field with the label, help and range that form, command line and checks share.

    Args:
        default: the default value.
        label: its name on the page, in plain words.
        help: one sentence on what it does.
        low: the smallest value allowed, for a number.
        high: the largest value allowed, for a number.
        choices: the values allowed, if there are few.
    """
    metadata = {"label": label, "help": help, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


class Checked:
    """A dataclass that checks each `option` against its type and range when it is made.

    Raises:
        ConfigError: names the option and says what it may be.
    """

    def __post_init__(self):
        for f in fields(self):
            if "label" in f.metadata:
                _check(f, getattr(self, f.name))


def from_dict(cls: type, data: Any) -> Any:
    """A dataclass of options from nested dictionaries, as JSON gives them.

    Raises:
        ConfigError: an option is unknown or out of its range.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{cls.__name__} must be a table of options; it is {data!r:.80}.")
    known = {f.name: f for f in fields(cls)}
    for name in data:
        if name not in known:
            raise ConfigError(f"{name!r} is not an option of {cls.__name__}.")
    values = {}
    for name, value in data.items():
        factory = known[name].default_factory
        nested = factory if isinstance(factory, type) else None
        if value is not None:  # a part that may be left out
            nested = nested or known[name].metadata.get("nested")
        values[name] = from_dict(nested, value) if nested else value
    return cls(**values)


def _check(f: dataclasses.Field, value: Any) -> None:
    label, low, high = f.metadata["label"], f.metadata["low"], f.metadata["high"]
    # Python counts True as an int; here it is no number.
    if not isinstance(value, _KINDS[f.type]) or (isinstance(value, bool) and f.type != "bool"):
        raise ConfigError(f"{label} ({f.name}) must be a {f.type}; it is {value!r}.")
    if isinstance(value, str) and not value.strip():
        raise ConfigError(f"{label} ({f.name}) must not be empty.")
    if f.metadata["choices"] and value not in f.metadata["choices"]:
        choices = ", ".join(f.metadata["choices"])
        raise ConfigError(f"{label} ({f.name}) must be one of {choices}; it is {value!r}.")
    if (low is not None and value < low) or (high is not None and value > high) or value != value:
        span = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ConfigError(f"{label} ({f.name}) must be {span}; it is {value}.")
