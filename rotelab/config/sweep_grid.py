"""A sweep's parameter grid: which options vary, over which values, and the order of the runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rotelab.config import recipes
from rotelab.config.option_paths import value_of, with_setting, with_values
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError

SEED = "seed"
RECIPE = "recipe"
"""Not an option, but it may vary like one: a value decides all options that a recipe decides."""
MAX_RUNS = 1000
"""Most runs of one sweep; more would surely be a mistake."""

FIXED = ("model.device", "model.dtype")
"""Options that can't vary: a process keeps the device and precision that it first uses."""

Axes = dict[str, list[Any]]
"""The values of each option that varies, by its path such as `memorize.epochs`."""


def parse_axis(text: str) -> tuple[str, list[str]]:
    """The path and the values of a text such as `generalize.epochs=1,2,4`.

    Raises:
        LabError: it is not of that form.
    """
    path, equals, values = text.partition("=")
    if not equals or not path.strip():
        raise LabError(f"{text[:80]!r} is not an axis. Write it as generalize.epochs=1,2,4.")
    return path.strip(), split_values(path.strip(), values)


def split_values(path: str, text: str) -> list[str]:
    """The values of a list such as `1,5,10`.

    Raises:
        LabError: one of them is empty.
    """
    values = [value.strip() for value in text.split(",")]
    if not all(values):
        raise LabError(f"{text[:80]!r} is not a list of values for {path}. Write it as 1,5,10.")
    return values


def read_axes(given: Sequence[tuple[str, Sequence[str]]], base: RunConfig) -> Axes:
    """The axes as typed values, each checked against its option.

    Args:
        given: path and values of each axis, in the order in which they are shown.
        base: the settings that all runs have in common.

    Raises:
        LabError: there is no axis, an axis or value comes twice, an option does not exist or can't
            vary, a value is out of its range, a recipe and an option that it decides both vary, or
            there are more than `MAX_RUNS` runs.
    """
    if not given:
        raise LabError("A sweep needs at least one axis, such as --k 1,5,10 or --seeds 0,1,2.")
    axes: Axes = {}
    for path, texts in given:
        if path in FIXED:
            raise LabError(f"{path} can't vary within a sweep. Make a sweep for each.")
        if path == RECIPE:
            values: list[Any] = [recipes.find(text).name for text in texts]
        else:
            values = [value_of(with_setting(base, f"{path}={text}"), path) for text in texts]
        if path in axes:
            raise LabError(f"The axis {path} is given twice. Put all its values into one list.")
        if len(set(values)) < len(values):
            raise LabError(f"The axis {path} has a value twice: {', '.join(texts)}.")
        axes[path] = values
    if RECIPE in axes and (both := [path for path in axes if path in recipes.options()]):
        raise LabError(f"A recipe decides {both[0]}, so the two can't both vary. Leave one out.")
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MAX_RUNS:
        raise LabError(f"These axes make {count} runs; at most {MAX_RUNS} are allowed.")
    return axes


def grid(axes: Mapping[str, Sequence[Any]], base: RunConfig) -> list[RunConfig]:
    """The settings of every run, in the order in which the runs are made.

    Runs that differ only in phase 2 follow each other, so that they can share phase 1. The seed
    varies slowest, so that the first seed's results are complete early.

    Raises:
        ConfigError: a value is out of its range.
    """
    ordered = sorted(axes, key=lambda path: (path != SEED, path.startswith("generalize.")))
    configs = []
    for values in itertools.product(*(axes[path] for path in ordered)):
        chosen = dict(zip(ordered, values, strict=True))
        recipe = chosen.pop(RECIPE, None)
        start = recipes.applied(recipe, base) if recipe else base
        configs.append(with_values(start, chosen))
    return configs


def axis_value(config: RunConfig, path: str) -> Any:
    """The value of an axis in a run's settings.

    Raises:
        ConfigError: there is no such option.
    """
    return recipes.recipe_of(config) if path == RECIPE else value_of(config, path)


def cell_name(axes: Mapping[str, Sequence[Any]], config: RunConfig) -> str:
    """The name of a run within its sweep: `epochs=3 k=5 seed=0`."""
    return " ".join(f"{path.rpartition('.')[2]}={axis_value(config, path)}" for path in axes)
