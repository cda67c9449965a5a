"""Runs in plain words: their status, their result and their settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rotelab.config.names import lesson_number
from rotelab.config.recipes import DEFAULT, RECIPES, recipe_of
from rotelab.config.reproduce import FLAGS, OF_THE_FACTS
from rotelab.config.run_config import LessonConfig, RunConfig
from rotelab.errors import ConfigError
from rotelab.evaluation.results import Score
from rotelab.registry import RunSummary
from rotelab.reports.intervals import Intervals, interval_at
from rotelab.runs.lessons.results import LessonResult
from rotelab.ui.i18n import N_, _, ngettext, one_decimal

if TYPE_CHECKING:
    from rotelab.runs.progress import Estimate

PHASE_WORDS = {
    "setup": N_("Getting ready: loading the model and the facts."),
    "evaluate base": N_("Asking the untouched model every question first."),
    "memorize": N_("Phase 1: learning the facts by rote."),
    "evaluate memorized": N_("Asking again: what does it know after rote learning alone?"),
    "generalize": N_("Phase 2: a few sentences show what the key token means."),
    "evaluate generalized": N_("Asking once more, in wordings it never saw."),
    "lesson": N_("Learning the new facts by rote."),
    "representations": N_("Looking inside: how the model stores facts and questions."),
}
ROUND_WORDS = {
    "memorize": N_("Phase 1: learning the facts by rote, round {n} of {m}."),
    "generalize": N_("Phase 2: a few sentences show what the key token means, round {n} of {m}."),
    "lesson": N_("Learning the new facts by rote, round {n} of {m}."),
}
"""The same with the epoch, once the first one has begun."""
PREPARING = (
    N_("Fetching the model (93 MB)"),
    N_("Checking the model"),
    N_("Converting the model (once)"),
    N_("Storing the model"),
    N_("Finding what ordinary text uses in this model (once)"),
    N_("Another process finds what ordinary text uses in this model (once)"),
    N_("Finding what the old facts use"),
)
"""What the work says that takes long before the first step. Its packages know nothing of
translations, so its words stand here once more; a test compares them."""
BLURTS = N_("It also blurts the answer out on {share} of unrelated questions.")


def percent(share: float | None) -> str:
    """A share as people read it: “72 %”; “–” if it is unknown."""
    return "–" if share is None or share != share else f"{100 * share:.0f} %"


def questions_word(count: int) -> str:
    """“1 question.”, “20 questions.”"""
    return ngettext("{n} question.", "{n} questions.", count).format(n=count)


def phase_words(run: RunSummary) -> str:
    """What a running run is doing now, in a sentence."""
    if run.phase in ROUND_WORDS and run.epoch and run.epochs:
        return _(ROUND_WORDS[run.phase]).format(n=min(run.epoch, run.epochs), m=run.epochs)
    if run.phase in PHASE_WORDS:
        return _(PHASE_WORDS[run.phase])
    if lesson_number(run.phase.removeprefix("evaluate ")):
        return _("Learned. Asking about the new facts and the old ones.")
    return f"{run.phase.capitalize()}." if run.phase else _("Starting.")


def status_sentence(run: RunSummary, ahead: int = 0) -> str:
    """A run's status, in a sentence.

    Args:
        run: the run.
        ahead: how many runs are before it, where it waits.
    """
    if run.held:
        return _(
            "Waiting for its sweep, which starts its runs one after the other; if that was ended, "
            "`python -m rotelab sweep --resume {sweep}` goes on."
        ).format(sweep=run.sweep_id)
    if run.status == "queued":
        if not ahead:
            return _("Waiting: it starts in a moment.")
        return ngettext(
            "Waiting in the queue: {n} run is before it. It starts by itself.",
            "Waiting in the queue: {n} runs are before it. It starts by itself.",
            ahead,
        ).format(n=ahead)
    if run.status == "running":
        return phase_words(run)
    if run.status == "stopping":
        return _("Stopping: finishing the step and saving…")
    if run.status == "stopped" and not run.started:
        return _("Taken out of the queue before it began; Resume puts it back.")
    return {
        "stopped": _("Stopped. What it has learned so far is saved; Resume goes on from there."),
        "finished": _("Finished."),
        "failed": _("Failed."),
        "interrupted": _("Interrupted: its process ended before it was done. Resume goes on."),
    }.get(run.status, run.status)


def preparing(run: RunSummary) -> str:
    """What takes long before a run's first step, and how far it is; afterwards empty, because
    `status_sentence` says the same."""
    if not run.live or run.step or run.phase not in ("setup", "lesson"):
        return ""
    words, colon, share = run.message.rpartition(": ")
    return f"{_(words)}{colon}{share}" if colon else _(run.message) if run.message else ""


def headline(
    scores: Mapping[str, Mapping[str, Score]], intervals: Intervals | None = None
) -> list[str]:
    """A run's result in a few sentences, the most important one first; none if nothing was
    measured.

    Args:
        scores: by checkpoint and probe.
        intervals: of the scores; the first figure's is said where it is known.
    """
    before, rote, after = (
        _accuracy(scores, checkpoint, "test_prompts_heldout")
        for checkpoint in ("base", "memorized", "generalized")
    )
    if after is None:
        return []
    words = [
        _("It now answers {share} of questions it was never trained on.").format(
            share=percent(after)
        )
    ]
    words += _interval_words(intervals, "generalized")
    if before is not None:
        words.append(_("Before: {share}.").format(share=percent(before)))
    if rote is not None:
        words.append(_("After rote learning alone: {share}.").format(share=percent(rote)))
    leak = _accuracy(scores, "generalized", "unrelated")
    if leak:
        words.append(_(BLURTS).format(share=percent(leak)))
    return words


def lesson_headline(found: LessonResult, intervals: Intervals | None = None) -> list[str]:
    """A lesson's result in a few sentences, as `headline`."""
    new, old = found.new.get("test_prompts"), found.old.get("test_prompts_heldout")
    if new is None:
        return []
    words = [
        _(
            "It now answers {share} of new questions about what this lesson taught by rote alone."
        ).format(share=percent(new.generation_accuracy))
    ]
    words += _interval_words(intervals, found.checkpoints[1])
    if old:
        before, after = (percent(score.generation_accuracy) for score in old)
        words.append(
            _("Of such questions about what it knew before: {before} before the lesson, {after} "
              "after it.").format(before=before, after=after)
        )  # fmt: skip
    leak = found.new.get("unrelated")
    if leak and leak.generation_accuracy:
        words.append(_(BLURTS).format(share=percent(leak.generation_accuracy)))
    return words


def _interval_words(intervals: Intervals | None, checkpoint: str) -> list[str]:
    """The interval of the share of new wordings that a checkpoint answers, if it is known."""
    known = interval_at(intervals or {}, checkpoint, "test_prompts_heldout", "generation_accuracy")
    if known is None:
        return []
    low, high = percent(known.low), percent(known.high)
    return [_("95 % interval over facts: {low} to {high}.").format(low=low, high=high)]


PARTS = ("model", "memorize", "generalize", "evaluation", "lesson")
"""The parts of a run's settings that have options of their own."""


class SettingRow(NamedTuple):
    """One option of a run, in words.

    Args:
        group: the part of the settings that it belongs to.
        label: what the form calls it.
        value: what it is set to, and `usual` what it is by default.
        differs: whether these are two.
        given: how the command line sets it.
        help: what it does.
    """

    group: str
    label: str
    value: str
    usual: str
    differs: bool
    given: str
    help: str


def settings_rows(config: RunConfig) -> list[SettingRow]:
    """Every option, in the order of the form."""
    recipe = recipe_of(config)
    line = next((r.line for r in RECIPES if r.name == recipe), "")
    chosen = recipe or _("own settings")
    rows = [
        SettingRow(_("Run"), _("Recipe"), chosen, DEFAULT, recipe != DEFAULT, "--recipe", _(line))
    ]
    prefixes = {id(getattr(config, name)): f"{name}." for name in PARTS}
    facts = {f"lesson.{name}" for name in OF_THE_FACTS}
    for group, part, usual in config_groups(config, RunConfig()):
        for f in dataclasses.fields(part):
            if "label" in f.metadata:
                value, default = getattr(part, f.name), getattr(usual, f.name)
                path = prefixes.get(id(part), "") + f.name
                rows.append(
                    SettingRow(
                        group,
                        _(f.metadata["label"]),
                        setting_word(value),
                        setting_word(default),
                        value != default and path not in facts,
                        "" if path in facts else FLAGS.get(path, f"--set {path}="),
                        _(f.metadata.get("help", "")),
                    )
                )
    return rows


def config_groups(config: RunConfig, usual: RunConfig) -> list[tuple[str, Any, Any]]:
    """(heading, settings, usual settings) of each part of a configuration."""
    return [
        (_("Run"), config, usual),
        (_("Model"), config.model, usual.model),
        (_("Phase 1: rote learning"), config.memorize, usual.memorize),
        (_("Phase 2: sentences"), config.generalize, usual.generalize),
        (_("Questions asked after each phase"), config.evaluation, usual.evaluation),
        *([(_("Lesson"), config.lesson, LessonConfig())] if config.lesson else []),
    ]


def whole(label: str, value: float | None) -> int:
    """The whole number in a number box.

    Raises:
        ConfigError: the box is empty, or it holds a fraction.
    """
    if value is None:
        raise ConfigError(f"{label}: fill in a number.")
    if value != int(value):
        raise ConfigError(f"{label} must be a whole number; it is {value:g}.")
    return int(value)


def _accuracy(scores, checkpoint: str, probe: str) -> float | None:
    score = scores.get(checkpoint, {}).get(probe)
    return None if score is None else score.generation_accuracy


def setting_word(value: Any) -> str:
    """An option's value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def slower_words(guess: Estimate) -> str:
    """That other work slows this machine, and by how much; empty where it does not."""
    if guess.seconds is None or guess.slower <= 1:
        return ""
    return _(
        "Other programs use this machine just now, so it takes about {times} times as long as "
        "usual."
    ).format(times=one_decimal(guess.slower))
