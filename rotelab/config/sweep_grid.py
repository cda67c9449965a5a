"""The axes of a sweep: which options vary, over which values, and in which order the runs go."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rotelab.config.options import value_of, with_setting
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError

SEED = "seed"
MAX_RUNS = 1000
"""Of one sweep: more was surely not meant."""

FIXED = ("model.device", "model.dtype")
"""Can't vary: a process settles on one device and one precision when it first computes."""

Axes = dict[str, list[Any]]
"""The values of each option that varies, by its path such as `memorize.epochs`."""


def parse_axis(text: str) -> tuple[str, list[str]]:
    """The path and the values of a text such as `generalize.epochs=1,2,4`.

    Raises:
        LabError: it is not of that form.
    """
    path, equals, values = text.partition("=")
    if not equals or not path.strip():
        raise LabError(f"{text[:80]!r} is no axis. Write it as generalize.epochs=1,2,4.")
    return path.strip(), split_values(path.strip(), values)


def split_values(path: str, text: str) -> list[str]:
    """The values of a list such as `1,5,10`.

    Raises:
        LabError: one of them is empty.
    """
    values = [value.strip() for value in text.split(",")]
    if not all(values):
        raise LabError(f"{text[:80]!r} is no list of values for {path}. Write it as 1,5,10.")
    return values


def read_axes(given: Sequence[tuple[str, Sequence[str]]], base: RunConfig) -> Axes:
    """The axes as typed values, each checked against its option.

    Args:
        given: path and values of each axis, in the order in which they are to be shown.
        base: the settings that all runs have in common.

    Raises:
        LabError: no axis, one twice, an option that there is not or can't vary, a value twice or
            out of its range, or more runs than anyone would want.
    """
    if not given:
        raise LabError("A sweep needs at least one axis, such as --k 1,5,10 or --seeds 0,1,2.")
    axes: Axes = {}
    for path, texts in given:
        if path in FIXED:
            raise LabError(f"{path} can't vary within a sweep. Make a sweep for each.")
        values = [value_of(with_setting(base, f"{path}={text}"), path) for text in texts]
        if path in axes:
            raise LabError(f"The axis {path} is given twice. Put all its values into one list.")
        if len(set(values)) < len(values):
            raise LabError(f"The axis {path} has a value twice: {', '.join(texts)}.")
        axes[path] = values
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MAX_RUNS:
        raise LabError(f"These axes make {count} runs; at most {MAX_RUNS} are taken.")
    return axes


def grid(axes: Mapping[str, Sequence[Any]], base: RunConfig) -> list[RunConfig]:
    """The settings of every run, in the order in which they are to be made.

    Runs that differ in phase 2 only stand next to each other, so that they can share phase 1; the
    seed changes last, so that a whole picture is there early.

    Raises:
        ConfigError: a value is out of its range.
    """
    ordered = sorted(axes, key=lambda path: (path != SEED, path.startswith("generalize.")))
    configs = []
    for values in itertools.product(*(axes[path] for path in ordered)):
        config = base
        for path, value in zip(ordered, values, strict=True):
            config = with_setting(config, f"{path}={_text(value)}")
        configs.append(config)
    return configs


def cell_name(axes: Mapping[str, Sequence[Any]], config: RunConfig) -> str:
    """What tells a run from the others of its sweep: `epochs=3 k=5 seed=0`."""
    return " ".join(f"{path.rpartition('.')[2]}={value_of(config, path)}" for path in axes)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
