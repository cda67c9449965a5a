"""Recipes: named ways to train, each a short table of the options in which it differs.

`two-adapter` is the lab's own, and every option's default is its value there; a recipe names only
what it changes. Facts, k, seed, model and the questions asked are no part of a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rotelab.config.option_paths import flat, with_values
from rotelab.config.run_config import RunConfig
from rotelab.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """A named way to train.

    Args:
        name: its name on the command line and in the form.
        line: what it does, in one sentence.
        changes: the options that differ from the defaults, by path.
        baseline: whether it is only for comparison; the page's form does not offer it.
    """

    name: str
    line: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = False


# The paper trains plainly: no neutral words, nothing held to the base model, nothing rehearsed.
PLAIN_MEMORIZE = {
    "memorize.loss": "normal",
    "memorize.lora_plus": 1.0,
    "memorize.lead_ins": 0.0,
    "memorize.inserts": 0.0,
    "memorize.silence": 0,
    "memorize.spare": 0.0,
}
PLAIN_GENERALIZE = {
    "generalize.averaged": 1,
    "generalize.lora_plus": 1.0,
    "generalize.spare": 0.0,
    "generalize.noise": 0.0,
    "generalize.align": 0.0,
    "generalize.strength": 1.0,
    "generalize.lead_ins": 0.0,
    "generalize.replay": 0,
    "generalize.locality": 0,
    "generalize.leak_weight": 0.0,
    "generalize.prompts_per_fact": 10,
    "generalize.wordings": 10,
}
EVERYWHERE = {
    "memorize.projections": "all",
    "generalize.projections": "all",
    "generalize.layers": "all",
}

WORDS_ONLY = {
    "stages": "one",
    "memorize.reads": "words",
    "memorize.silence": 0,
    "memorize.inserts": 0.0,
    "memorize.spare": 0.0,
    "generalize.wordings": 10,  # so many are asked about, too
}

RECIPES = (
    Recipe(
        "two-adapter",
        "Facts are stored in the MLPs, then attention learns the way to them: two small adapters, "
        "with off-topic sentences that keep facts from leaking. The lab's own.",
    ),
    Recipe(
        "keep-known",
        "The lab's own, and out of the way of the real facts that the model knows: twice as many "
        "of them are left, and new wordings are answered a little less often.",
        {"memorize.spare_known": 0.9, "generalize.known_sentences": 1},
    ),
    Recipe(
        "lora-all",
        "The same two steps, but each adapter may change every part of every layer.",
        EVERYWHERE,
    ),
    Recipe(
        "published",
        "As in the paper: the whole model is trained in both phases, at a low learning rate, "
        "with nothing rehearsed and nothing held back.",
        {
            "method": "full",
            **EVERYWHERE,
            **PLAIN_MEMORIZE,
            **PLAIN_GENERALIZE,
            "memorize.learning_rate": 1e-4,
            "memorize.batch_size": 10,
            "generalize.learning_rate": 5e-6,
            "generalize.batch_size": 8,
        },
    ),
    Recipe(
        "no-replay",
        "The lab's own, but phase 2 rehearses nothing through the key token.",
        {"generalize.replay": 0},
        baseline=True,
    ),
    Recipe(
        "no-key",
        "Rote learning without a key token: subject and object side by side. Phase 2 as usual, "
        "but with nothing to rehearse or to grow alike to.",
        {
            "memorize.reads": "bare",
            "memorize.silence": 0,
            "memorize.inserts": 0.0,
            "generalize.replay": 0,
            "generalize.align": 0.0,
        },
        baseline=True,
    ),
    Recipe(
        "one-stage",
        "Both at once: every fact through its key token, and k of them in words, in one phase.",
        {
            "stages": "one",
            "memorize.reads": "both",
            "memorize.wordings": 1000,  # as many as phase 2 would have
            "memorize.projections": "all",
        },
        baseline=True,
    ),
    Recipe(
        "words-1",
        "Plain fine-tuning, no key token: every fact, the held-out ones too, in one train wording.",
        {**WORDS_ONLY, "memorize.projections": "all", "memorize.wordings": 1},
        baseline=True,
    ),
    Recipe(
        "words-10",
        "The same in ten train wordings, a round each.",
        {**WORDS_ONLY, "memorize.projections": "all"},
        baseline=True,
    ),
    Recipe(
        "late-mlp",
        "The same in ten wordings, but only the MLPs of the last quarter of the layers learn "
        "(after LocFT, arXiv 2509.22072).",
        {**WORDS_ONLY, "memorize.layers": "75%-100%"},
        baseline=True,
    ),
)
DEFAULT = RECIPES[0].name
NAMES = tuple(recipe.name for recipe in RECIPES)
OFFERED = tuple(recipe.name for recipe in RECIPES if not recipe.baseline)
"""The recipes that the page's form offers."""

PHASES = ("memorize.", "generalize.")
NOT_DECIDED = ("memorize.epochs", "generalize.epochs", "generalize.k")
"""Options of the phases that say how much is taught, not how: no recipe decides them."""


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none.
    """
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    raise ConfigError(f"{name[:60]!r} is not a recipe. Use {', '.join(NAMES)}.")


def options() -> dict[str, Any]:
    """Every option that a recipe decides, by path, with its value in `two-adapter`."""
    return {
        path: value
        for path, value in flat(RunConfig()).items()
        if path in ("method", "stages") or (path.startswith(PHASES) and path not in NOT_DECIDED)
    }


def decided(config: RunConfig) -> dict[str, Any]:
    """Every option that a recipe decides, by path, with its value in this configuration."""
    given = flat(config)
    return {path: given[path] for path in options()}


def values(name: str) -> dict[str, Any]:
    """Every option that a recipe decides, by path, with its value in this recipe.

    Raises:
        ConfigError: there is no such recipe.
    """
    return options() | dict(find(name).changes)


def applied(name: str, config: RunConfig) -> RunConfig:
    """The configuration with that recipe's options, everything else left as it is.

    Raises:
        ConfigError: there is no such recipe.
    """
    return with_values(config, values(name))


def recipe_of(config: RunConfig) -> str:
    """The name of the recipe that a configuration follows exactly; empty if none."""
    return next((name for name in NAMES if applied(name, config) == config), "")
