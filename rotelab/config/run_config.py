"""A run's settings, frozen and checked: model, evaluation, the two phases, and `RunConfig` itself.

A field's help is its docstring and the form's hint. The options of the phases are in
`config.phases`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rotelab.config.checked import Checked, from_dict, option
from rotelab.config.lessons import LessonConfig
from rotelab.config.phases import GeneralizeConfig, MemorizeConfig

if TYPE_CHECKING:
    from rotelab.facts.facts import FactSet, Split

__all__ = [
    "EMBEDDED",
    "USUAL_CANDIDATES",
    "EvaluationConfig",
    "GeneralizeConfig",
    "LessonConfig",
    "MemorizeConfig",
    "ModelSpec",
    "RunConfig",
]

EMBEDDED = "embedded"
"""Name of the model that comes with the lab (SmolLM2-135M-Instruct)."""

USUAL_CANDIDATES = 100
"""How many candidates a multiple choice has in the paper (section 3.3)."""

BEFORE = {
    "memorize": {"spare": 0.0},
    "generalize": {"spare": 0.0, "averaged": 1, "leak_weight": 0.0, "least_steps": 0},
    "evaluation": {"damage": False},
}
"""What stored settings mean if they lack an option: how runs worked before there was one."""

DROPPED = {
    "memorize": ("own_text", "own_text_weight"),
    "generalize": ("word_dropout", "own_text", "own_text_weight"),
}
"""Options that older versions stored and no run uses any more; they are ignored when read."""


@dataclass(frozen=True)
class ModelSpec(Checked):
    """Which model is trained, and where."""

    name: str = option(
        EMBEDDED,
        "Model",
        "“embedded” is the 135M model that comes with the lab; else a Hugging Face name or folder.",
    )
    device: str = option(
        "auto",
        "Device",
        "auto takes CUDA, then Apple's MPS, then the CPU; or name one: cuda:1, cpu.",
    )
    dtype: str = option(
        "auto",
        "Precision",
        "auto computes in bfloat16 where the device is fast at it, in float32 elsewhere.",
        choices=("auto", "float32", "bfloat16"),
    )
    weights: str = option(
        "auto",
        "Stored weights",
        "auto keeps the model's weights in the precision above; 4bit keeps them in 4 bits (NF4): a "
        "quarter of the memory, somewhat slower, on an NVIDIA card with the package bitsandbytes.",
        choices=("auto", "4bit"),
    )
    checkpointing: bool = option(
        False,
        "Gradient checkpointing",
        "Computes what happens inside a layer again where training needs it, instead of keeping "
        "it: less memory, about a third more time, the same result.",
    )


@dataclass(frozen=True)
class EvaluationConfig(Checked):
    """How much is asked after each phase. Every fact of a split is always asked."""

    train_prompts: int = option(
        1, "Train wordings asked per fact", "Of the wordings seen in phase 2.", low=1, high=1000
    )
    test_prompts: int = option(
        5, "Test wordings asked per fact", "Of the wordings never trained on.", low=1, high=1000
    )
    unrelated_prompts: int = option(
        2,
        "Unrelated questions per fact",
        "On these the object must not come out.",
        low=1,
        high=1000,
    )
    batch_tokens: int = option(
        512,
        "Tokens per scoring batch",
        "Larger is faster where memory allows.",
        low=64,
        high=10**6,
    )
    candidates: int = option(
        0,
        "Candidates of the multiple choice",
        "Also asks whether the right object is ranked first among so many candidates (the paper "
        "takes 100); 0 does not ask. Asking then takes up to three times as long.",
        low=0,
        high=1000,
    )
    normalized: bool = option(
        False,
        "Normalise object probability",
        "Also measures how likely the right object is among the candidates alone (100 where none "
        "are set above). Every candidate must be read: asking takes about 25 times as long.",
    )
    generate: int = option(
        0,
        "Tokens of a free answer",
        "Lets the model answer freely, so many tokens long (the paper takes 50), to see whether "
        "the right object comes anywhere; 0 does not. With 50, asking takes six times as long.",
        low=0,
        high=500,
    )

    damage: bool = option(
        True,
        "Look at the damage",
        "Also reads plain prose, asks a quiz of real facts and compares with the base model, to "
        "see what else the model knew and still knows.",
    )
    spot_checks: float = option(
        0.03,
        "Share of training time for the live questions",
        "While it learns, the model answers three fixed questions and some about other facts in "
        "words now and then, as often as fits into this share of the time; 0 asks none. What is "
        "learned stays the same.",
        low=0.0,
        high=1.0,
    )

    @property
    def choices(self) -> int:
        """How many candidates a question has; 0 where none are wanted."""
        return self.candidates or (USUAL_CANDIDATES if self.normalized else 0)


@dataclass(frozen=True)
class RunConfig(Checked):
    """Everything that decides a run's outcome."""

    pack: str = option("mother", "Facts", "The fact pack or saved fact set.")
    facts: int = option(
        0, "Facts per relation", "How many facts of each relation to use; 0 takes all.", low=0
    )
    seed: int = option(
        0, "Seed", "Draws the split, the order and the starting weights.", low=0, high=2**31 - 1
    )
    method: str = option(
        "lora",
        "What is trained",
        "lora: small adapters beside the model; full: copies of the model's own weights, as in the "
        "paper. That takes four times the memory, and the whole model on disk for each phase.",
        choices=("lora", "full"),
    )
    stages: str = option(
        "two",
        "Phases",
        "two: both phases; one: the first alone, for comparison.",
        choices=("two", "one"),
    )
    model: ModelSpec = field(default_factory=ModelSpec)
    memorize: MemorizeConfig = field(default_factory=MemorizeConfig)
    generalize: GeneralizeConfig = field(default_factory=GeneralizeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    lesson: LessonConfig | None = field(default=None, metadata={"nested": LessonConfig})
    """Set for a later lesson of another run; the other settings are then those of that run."""

    def split(self, facts: FactSet) -> Split:
        """Which of a run's facts phase 2 teaches in words. None of a later lesson's are.

        Raises:
            ConfigError: a relation has fewer facts than k.
        """
        return facts.split(self.generalize.k, self.seed, self.lesson and self.lesson.run_facts)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain nested dictionaries, ready for JSON."""
        plain = dataclasses.asdict(self)
        if self.lesson is None:
            del plain["lesson"]
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RunConfig:
        """The reverse of `to_dict`.

        Raises:
            ConfigError: an option is unknown or out of its range.
        """
        return from_dict(cls, data)

    @classmethod
    def from_stored(cls, data: dict[str, Any]) -> RunConfig:
        """The same for settings that an older version may have written.

        Raises:
            ConfigError: an option is unknown or out of its range.
        """
        if isinstance(data, dict):
            data = dict(data)
            for part, options in BEFORE.items():
                if isinstance(data.get(part), dict):
                    kept = {n: v for n, v in data[part].items() if n not in DROPPED.get(part, ())}
                    data[part] = options | kept
        return from_dict(cls, data)
