"""The command line's flags for options, and the command that makes a run or a lesson again."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Sequence

from rotelab.config import recipes
from rotelab.config.option_paths import flat, text_of
from rotelab.config.run_config import LessonConfig, RunConfig

FLAGS = {
    "pack": "--pack",
    "facts": "--facts",
    "seed": "--seed",
    "model.name": "--model",
    "model.device": "--device",
    "model.dtype": "--dtype",
    "memorize.epochs": "--phase1-epochs",
    "memorize.learning_rate": "--phase1-lr",
    "memorize.rank": "--phase1-rank",
    "memorize.batch_size": "--phase1-batch",
    "memorize.loss": "--loss",
    "generalize.k": "--k",
    "generalize.epochs": "--phase2-epochs",
    "generalize.learning_rate": "--phase2-lr",
    "generalize.rank": "--phase2-rank",
    "generalize.batch_size": "--phase2-batch",
    "generalize.prompts_per_fact": "--prompts-per-fact",
    "generalize.replay": "--replay",
    "generalize.locality": "--locality",
    "generalize.locality_weight": "--locality-weight",
    "evaluation.test_prompts": "--test-prompts",
    "evaluation.candidates": "--candidates",
    "evaluation.generate": "--generate",
}
"""Options that have a flag of their own on the command line; `--set` sets all others."""

SWITCHES = {
    "memorize.stop_at_full_recall": "--stop-at-full-recall/--no-stop-at-full-recall",
    "evaluation.normalized": "--normalized",
}
"""Flags without a value, for options that are true or false."""


def command_of(config: RunConfig, pack: str = "") -> str:
    """The shell command whose run has these settings; options at their default are left out.

    Args:
        config: the settings; of no lesson.
        pack: the name or folder of the facts, if it is not the one in the settings.
    """
    recipe = recipes.recipe_of(config) or recipes.DEFAULT
    usual = flat(recipes.applied(recipe, RunConfig()))
    words = ["python", "-m", "rotelab", "run", "--pack", pack or config.pack]
    if recipe != recipes.DEFAULT:
        words += ["--recipe", recipe]
    for name, value in flat(config).items():
        if name == "pack" or value == usual[name]:
            continue
        text = text_of(value)
        words += [FLAGS[name], text] if name in FLAGS else ["--set", f"{name}={text}"]
    return shell_line(words)


def shell_line(words: Sequence[str], windows: bool = sys.platform == "win32") -> str:
    """Words as one line for the shell: that of POSIX, or PowerShell on Windows."""
    if not windows:
        return shlex.join(words)
    plain = re.compile(r"[A-Za-z0-9_:=./\\-]+")
    return " ".join(w if plain.fullmatch(w) else "'" + w.replace("'", "''") + "'" for w in words)


OF_THE_FACTS = ("number", "run_facts", "old_facts")
"""Options of a lesson that follow from what it continues."""


def teach_command_of(lesson: LessonConfig, run_id: str) -> str:
    """The shell command that teaches a run such a lesson; the new facts must be in `facts.csv`.

    Args:
        lesson: its options; those at their default are left out.
        run_id: the run or lesson that it continues.
    """
    words = ["python", "-m", "rotelab", "teach", run_id, "facts.csv"]
    for f in dataclasses.fields(lesson):
        value = getattr(lesson, f.name)
        if f.name not in OF_THE_FACTS and value != getattr(LessonConfig(), f.name):
            words += ["--set", f"{f.name}={text_of(value)}"]
    return shell_line(words)
