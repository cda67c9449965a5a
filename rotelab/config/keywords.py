"""A run's options by the names that the command line and Python give them, such as `k`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from rotelab.config import recipes
from rotelab.config.option_paths import option_names, text_of, with_setting
from rotelab.config.reproduce import FLAGS, SWITCHES
from rotelab.config.run_config import RunConfig
from rotelab.errors import ConfigError


def keyword_of(flag: str) -> str:
    """The Python name of a command line flag: `phase1_epochs` of `--phase1-epochs`."""
    return flag.split("/")[0].removeprefix("--").replace("-", "_")


PATHS = {keyword_of(flag): path for path, flag in (FLAGS | SWITCHES).items()}
"""The path of each option that has a short name, such as `generalize.k` of `k`."""

SHORT = {path: keyword for keyword, path in PATHS.items()}
"""The short name of an option, by its path."""


def path_of(name: str) -> str:
    """The path of an option, given by its short name or by the path itself.

    Raises:
        ConfigError: there is no such option; says what is alike.
    """
    if name in PATHS:
        return PATHS[name]
    paths = option_names()
    if name in paths:
        return name
    alike = difflib.get_close_matches(name, [*PATHS, *paths], n=3)
    mend = f"Do you mean {' or '.join(alike)}?" if alike else "docs/options.md lists all."
    raise ConfigError(f"{name[:80]!r} is not an option of a run. {mend}")


def config_of(recipe: str, values: Mapping[str, Any]) -> RunConfig:
    """The settings of a recipe with some options changed.

    Args:
        recipe: its name.
        values: new values by short name or path; None where the recipe decides.

    Raises:
        ConfigError: there is no such recipe or option, or a value is of the wrong type or out of
            its range.
    """
    config = recipes.applied(recipe, RunConfig())
    for name, value in values.items():
        path = path_of(name)
        if value is not None:
            config = with_setting(config, f"{path}={text_of(value)}")
    return config
