"""Names that packages share: checkpoints, phases and statuses as stored, and what people read."""

from __future__ import annotations

from typing import Literal, NamedTuple

# As stored ---------------------------------------------------------------------------------------

Checkpoint = Literal["base", "memorized", "generalized"]
CHECKPOINTS: tuple[Checkpoint, ...] = ("base", "memorized", "generalized")
"""The states in which a run's model is measured, in the order in which training reaches them."""

MEMORIZE, GENERALIZE = "memorize", "generalize"
"""The two phases; each trains an adapter of its own name."""

ADAPTER_OF: dict[Checkpoint, str] = {"memorized": MEMORIZE, "generalized": GENERALIZE}
"""The adapter that a checkpoint adds; also the name of its folder."""

ACTIVE: dict[Checkpoint, list[str]] = {
    "base": [],
    "memorized": [MEMORIZE],
    "generalized": [MEMORIZE, GENERALIZE],
}
"""The adapters that are on at a checkpoint."""

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
    "evaluation": DisplayName("evaluation", "Asking questions"),
    "total": DisplayName("total", "In all"),
}
"""The parts of a run whose time is measured."""


def checkpoint_name(checkpoint: str) -> DisplayName:
    """What people read for a checkpoint; one without a name here goes by its own."""
    return CHECKPOINT_NAMES.get(checkpoint, DisplayName(checkpoint, checkpoint))


def probe_name(probe: str) -> DisplayName:
    """What people read for a probe; one without a name here goes by its own."""
    return PROBE_NAMES.get(probe, DisplayName(probe, probe))
