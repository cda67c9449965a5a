"""Names that packages share: checkpoints, phases and statuses as stored, and what people read."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

# As stored ---------------------------------------------------------------------------------------

Checkpoint = str
"""A state of a run's model: one of `CHECKPOINTS`, or that after a lesson (`lesson_checkpoint`)."""

CHECKPOINTS: tuple[Checkpoint, ...] = ("base", "memorized", "generalized")
"""The states in which a run's model is measured, in the order in which training reaches them."""

MEMORIZE, GENERALIZE, LESSON = "memorize", "generalize", "lesson"
"""The two phases, and a later lesson; each trains an adapter. That of a phase has its name."""

ADAPTER_OF: dict[Checkpoint, str] = {"memorized": MEMORIZE, "generalized": GENERALIZE}
"""The adapter that each phase's checkpoint adds; also the name of its folder."""

MOST_LESSONS = 99
_LESSON = re.compile(LESSON + r"-(\d\d)")
_ROTE = re.compile(r"rote-(\d\d)")


def lesson_checkpoint(number: int) -> Checkpoint:
    """The checkpoint after a run's lesson with this 1-based number, such as `lesson-01`. The
    lesson's adapter has the same name."""
    return f"{LESSON}-{number:02d}"


def lesson_number(checkpoint: Checkpoint) -> int:
    """The 1-based number of the lesson that a checkpoint or an adapter is of; 0 for all others."""
    found = _LESSON.fullmatch(checkpoint)
    return int(found[1]) if found else 0


def rote_state(lessons: int) -> Checkpoint:
    """The state in which a lesson is learned: `memorize` and so many lessons are on, `generalize`
    is off. It is never measured, so it is not among a run's checkpoints."""
    return f"rote-{lessons:02d}"


def checkpoints_with(lessons: int) -> tuple[Checkpoint, ...]:
    """All checkpoints of a run with so many lessons, in the order of training."""
    return (*CHECKPOINTS, *(lesson_checkpoint(n) for n in range(1, lessons + 1)))


def adapter_of(checkpoint: Checkpoint) -> str:
    """The adapter that a checkpoint adds; also the name of its folder. `base` adds none."""
    return ADAPTER_OF.get(checkpoint, checkpoint)


def active_adapters(checkpoint: Checkpoint) -> list[str]:
    """The adapters that are on at a checkpoint, in the order in which they were trained."""
    if rote := _ROTE.fullmatch(checkpoint):
        return [MEMORIZE, *(lesson_checkpoint(n) for n in range(1, int(rote[1]) + 1))]
    there = checkpoints_with(lesson_number(checkpoint))
    return [adapter_of(c) for c in there[1 : there.index(checkpoint) + 1]]


Status = Literal["queued", "running", "stopping", "stopped", "finished", "failed", "interrupted"]
LIVE: tuple[Status, ...] = ("running", "stopping")
RESUMABLE: tuple[Status, ...] = ("stopped", "interrupted", "failed")
TRANSITIONS: dict[str, tuple[str, ...]] = {
    "queued": ("running", "stopped", "failed"),
    "running": ("stopping", "stopped", "finished", "failed", "interrupted"),
    "stopping": ("stopped", "finished", "failed", "interrupted"),
    "stopped": ("queued", "running"),
    "interrupted": ("queued", "running"),
    "failed": ("queued", "running"),
    "finished": (),
}
"""Which status may follow which. `running` after an end is a resume in the foreground."""


# As people read them -----------------------------------------------------------------------------


class DisplayName(NamedTuple):
    """What people read for a stored name.

    Args:
        short: for a column's head, or inside a sentence: “the memorised model”.
        long: where it stands alone: a heading, a legend, an entry of a list.
        hint: a sentence or a few words that explain it.
    """

    short: str
    long: str
    hint: str = ""


CHECKPOINT_NAMES = {
    "base": DisplayName("base", "Base model", "before any training"),
    "memorized": DisplayName("memorised", "Memorised", "after rote learning"),
    "generalized": DisplayName("generalised", "Generalised", "after a few sentences in words"),
}

PROBE_NAMES = {
    "key_token": DisplayName(
        "key token",
        "Through the key token",
        "Every fact, asked as it was learned by rote: the subject and the key token.",
    ),
    "train_prompts_heldin": DisplayName(
        "train, held in",
        "Taught facts, taught wordings",
        "Facts that phase 2 showed in sentences, asked in those same wordings.",
    ),
    "train_prompts_heldout": DisplayName(
        "train, held out",
        "Facts known by rote, taught wordings",
        "Facts that phase 2 never showed in words, asked in wordings it used for other facts.",
    ),
    "test_prompts_heldout": DisplayName(
        "test, held out",
        "Facts known by rote, new wordings",
        "Facts that phase 2 never showed in words, in wordings nobody ever trained: "
        "the figure that counts.",
    ),
    "unrelated": DisplayName(
        "unrelated",
        "Unrelated questions",
        "Questions about something else. The fact's object must not come out: lower is better.",
    ),
}
"""The probes of every run, in the order in which tables list them."""

OLD_PROBE_NAMES = {
    "old_key_token": DisplayName(
        "old, key token",
        "Old facts through the key token",
        "The facts that were known before this lesson, asked through the key token.",
    ),
    "old_test_prompts_heldout": DisplayName(
        "old, test",
        "Old facts, new wordings",
        "Facts that were known before this lesson and never taught in words, in wordings nobody "
        "ever trained.",
    ),
    "old_unrelated": DisplayName(
        "old, unrelated",
        "Old facts, unrelated questions",
        "Questions about something else, about the subjects that were known before this lesson. "
        "The fact's object must not come out: lower is better.",
    ),
}
"""The probes of a later lesson that ask what was known before it."""

MEASURES = {
    "generation_accuracy": DisplayName(
        "right",
        "Generation accuracy",
        "Generation accuracy: the share of questions whose greedy answer (the likeliest word each "
        "time) is the fact's object.",
    ),
    "object_probability": DisplayName(
        "probability",
        "Object probability",
        "Object probability: how likely the model finds the whole object as the answer, averaged "
        "over the questions.",
    ),
}
"""Measures of every score, by the field of `evaluation.results.Score`."""

MORE_MEASURES = {
    "choice_accuracy": DisplayName(
        "chosen",
        "Choice accuracy",
        "Choice accuracy: the share of questions for which the model finds the fact's object more "
        "probable than every other candidate; a tie is wrong.",
    ),
    "normalized_probability": DisplayName(
        "of candidates",
        "Normalised probability",
        "Normalised probability: how likely the object is among the candidates alone (theirs and "
        "its own sum to 100 %), averaged over the questions.",
    ),
    "contains_accuracy": DisplayName(
        "contained",
        "Contains accuracy",
        "Contains accuracy: the share of questions whose free greedy answer has the object "
        "anywhere in it, as whole words, in whatever case.",
    ),
}
"""Measures that a run has only where they were asked for."""

PART_NAMES = {
    "setup": DisplayName("setup", "Getting ready"),
    "phase1": DisplayName("phase 1", "Phase 1"),
    "phase2": DisplayName("phase 2", "Phase 2"),
    "protect": DisplayName("protecting", "Protecting the old facts"),
    "lesson": DisplayName("lesson", "Lesson"),
    "evaluation": DisplayName("evaluation", "Asking questions"),
    "total": DisplayName("total", "In all"),
}
"""The parts of a run whose time is measured."""


def checkpoint_name(checkpoint: str) -> DisplayName:
    """What people read for a checkpoint; one without a name here goes by its own."""
    if number := lesson_number(checkpoint):
        return DisplayName(f"lesson {number}", f"Lesson {number}", "after a later lesson by rote")
    return CHECKPOINT_NAMES.get(checkpoint, DisplayName(checkpoint, checkpoint))


def probe_name(probe: str) -> DisplayName:
    """What people read for a probe; one without a name here goes by its own."""
    return (PROBE_NAMES | OLD_PROBE_NAMES).get(probe, DisplayName(probe, probe))
