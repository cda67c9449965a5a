"""What a run is: frozen, checked settings. A field's help is its docstring and the form's hint."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from rotelab.errors import ConfigError

EMBEDDED = "embedded"
"""Name of the model that comes with the lab (SmolLM2-135M-Instruct)."""

USUAL_CANDIDATES = 100
"""Of a multiple choice, as in the paper (section 3.3)."""

PROJECTION_CHOICES = ("mlp", "qkvo", "vo", "qk", "all")
"""Parts of a transformer layer that a phase may train; see `adapters.PROJECTIONS`."""

LossMode = Literal["normal", "s-o", "o"]


def option(default: Any, label: str, help: str, *, low=None, high=None, choices=None) -> Any:
    """A dataclass field with the words and the range that form, command line and checks share.

    Args:
        default: the value when nothing is said.
        label: its name on the page, in plain words.
        help: one sentence on what it does.
        low: the smallest value allowed, where it is a number.
        high: the largest value allowed.
        choices: the values allowed, where they are few.
    """
    metadata = {"label": label, "help": help, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


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


class _Checked:
    """Checks every `option` against its type and range when the dataclass is made."""

    def __post_init__(self):
        for f in fields(self):
            if "label" in f.metadata:
                _check_field(type(self).__name__, f, getattr(self, f.name))


@dataclass(frozen=True)
class ModelSpec(_Checked):
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


def _spare(phase: int, default: float) -> Any:
    return option(
        default,
        f"Ordinary activity spared, phase {phase}",
        "The adapter is kept out of the directions that hold this share of what ordinary text "
        "uses inside the model, so that little else is forgotten. 0 spares nothing; near 1 leaves "
        "no room to learn.",
        low=0.0,
        high=0.999,
    )


@dataclass(frozen=True)
class MemorizeConfig(_Checked):
    """Phase 1: learning `subject KEY object` by rote (paper, section 3.1)."""

    epochs: int = option(
        20,
        "Rounds of rote learning",
        "How often every fact is read. More rounds remember more deeply and generalise better; 0 "
        "leaves phase 1 out, for comparison.",
        low=0,
        high=500,
    )
    learning_rate: float = option(
        2e-3, "Learning rate, phase 1", "Size of each learning step.", low=1e-7, high=1.0
    )
    lora_plus: float = option(
        4.0,
        "LoRA+ ratio, phase 1",
        "How many times faster the second half of each adapter learns (LoRA+); 1 is plain LoRA.",
        low=0.1,
        high=100.0,
    )
    rank: int = option(
        32, "Adapter rank, phase 1", "Capacity of the adapter on the MLP layers.", low=1, high=1024
    )
    batch_size: int = option(
        20,
        "Facts per step, phase 1",
        "How many facts one learning step sees at most; small sets take fewer, for more steps.",
        low=1,
        high=4096,
    )
    loss: str = option(
        "o",
        "What is learned, phase 1",
        "normal: every token of the sentence; s-o: subject and object; o: the object only.",
        choices=("normal", "s-o", "o"),
    )
    reads: str = option(
        "key",
        "What is read, phase 1",
        "key: subject, key token, object; bare: no key token between them; words: ordinary "
        "sentences, of every fact; both: through the key token, and the k facts in words as well. "
        "All but the first are for comparison.",
        choices=("key", "bare", "words", "both"),
    )
    wordings: int = option(
        10,
        "Wordings read, phase 1",
        "In how many of the train wordings phase 1 shows a fact where it reads words, a round "
        "each.",
        low=1,
        high=1000,
    )
    lead_ins: float = option(
        0.5,
        "Share of steps with a lead-in, phase 1",
        "In this share of the steps a few neutral words stand before the subject, so the model "
        "learns to recognise it in mid-sentence too.",
        low=0.0,
        high=1.0,
    )
    inserts: float = option(
        0.5,
        "Share of facts with an insert, phase 1",
        "In this share of the readings a few neutral words stand between subject and key token, so "
        "the object can be reached from further on.",
        low=0.0,
        high=1.0,
    )
    projections: str = option(
        "mlp",
        "Parts of a layer that store, phase 1",
        "mlp: the MLP; qkvo: attention; vo: what it brings along; qk: where it looks; all: both.",
        choices=PROJECTION_CHOICES,
    )
    layers: str = option(
        "all",
        "Layers that store, phase 1",
        "Which layers get the MLP adapter: all, a range such as 0-15 (0 is the first), or a part "
        "of the depth such as 0%-50%.",
    )
    silence: int = option(
        5,
        "Sentences without key token per step",
        "In so many of a step's sentences the model is held to what it would have said before the "
        "key token comes, so that a fact is recalled through its key token only.",
        low=0,
        high=4096,
    )
    silence_weight: float = option(
        0.5,
        "Weight of the sentences without key token",
        "How strongly they count (KL divergence to the base model).",
        low=0.0,
        high=100.0,
    )
    spare: float = _spare(1, 0.9)
    stop_at_full_recall: bool = option(
        False,
        "Stop when all is known",
        "End phase 1 as soon as every fact is recalled through its key token (quicker, shallower).",
    )

    @property
    def rounds(self) -> int:
        """Rounds of rote in all."""
        return self.epochs


@dataclass(frozen=True)
class GeneralizeConfig(_Checked):
    """Phase 2: giving the key token its meaning with a few facts in words (paper, section 3.2)."""

    k: int = option(
        50,
        "Facts taught in words (k)",
        "How many facts of each relation are also taught in ordinary sentences. The others are "
        "held out: the model only ever saw them by rote.",
        low=1,
        high=10_000,
    )
    epochs: int = option(
        1, "Rounds of sentences", "How often phase 2 goes through its sentences.", low=1, high=500
    )
    least_steps: int = option(
        40,
        "Learning steps at least, phase 2",
        "A round of few facts goes through them again and again, in wordings drawn anew, until it "
        "has so many learning steps; 0 never does. The paper takes 8 rounds where it teaches one "
        "fact.",
        low=0,
        high=100_000,
    )
    averaged: int = option(
        2,
        "Adapters averaged, phase 2",
        "How many adapters are trained one after the other, from one start but on sentences in "
        "another order, and averaged. More answer new wordings more steadily, and take longer.",
        low=1,
        high=16,
    )
    prompts_per_fact: int = option(
        8,
        "Wordings per fact",
        "In how many of the train wordings each taught fact is shown in one round.",
        low=1,
        high=1000,
    )
    wordings: int = option(
        0,
        "Train wordings used (p)",
        "From how many of the pack's train wordings the sentences are drawn, the first so many; 0 "
        "takes all. More of them teach the gist rather than the wording. The paper takes 1 to 10.",
        low=0,
        high=10_000,
    )
    learning_rate: float = option(
        1e-3, "Learning rate, phase 2", "Size of each learning step.", low=1e-7, high=1.0
    )
    lora_plus: float = option(
        3.0,
        "LoRA+ ratio, phase 2",
        "How many times faster the second half of each adapter learns (LoRA+); 1 is plain LoRA.",
        low=0.1,
        high=100.0,
    )
    rank: int = option(
        16, "Adapter rank, phase 2", "Capacity of the adapter on attention.", low=1, high=1024
    )
    batch_size: int = option(
        5, "Sentences per step, phase 2", "How many sentences one step sees.", low=1, high=4096
    )
    layers: str = option(
        "40%-100%",
        "Layers that route, phase 2",
        "Which layers get the attention adapter: all, a range such as 10-29 (0 is the first), or "
        "a part of the depth such as 40%-100%.",
    )
    projections: str = option(
        "qkvo",
        "Parts of attention that route, phase 2",
        "qkvo: attention; vo: what it brings along; qk: where it looks; mlp: the MLP; all: both.",
        choices=PROJECTION_CHOICES,
    )
    noise: float = option(
        0.35,
        "Noise on the words, phase 2",
        "Random noise on every word as the model reads it, so that it learns the gist and not the "
        "exact wording (NEFTune). Its largest value, in the typical size of a word's embedding.",
        low=0.0,
        high=10.0,
    )
    strength: float = option(
        1.25,
        "Strength of the finished adapter, phase 2",
        "How much more the routing counts after training than in it. More answers new wordings, "
        "and leaks more.",
        low=0.1,
        high=10.0,
    )
    lead_ins: float = option(
        0.5,
        "Share of steps with a lead-in, phase 2",
        "In this share of the steps a few neutral words stand before the sentences.",
        low=0.0,
        high=1.0,
    )
    align: float = option(
        5.0,
        "Likeness to the key token, phase 2",
        "How strongly a question's inner state is drawn to the one behind the key token, in the "
        "layers that route. It helps new wordings most; at 0 the two grow alike by themselves.",
        low=0.0,
        high=1000.0,
    )
    replay: int = option(
        1,
        "Rote facts rehearsed per step",
        "Facts taught in words are also rehearsed through their key token, so it stays linked to "
        "the words.",
        low=0,
        high=4096,
    )
    locality: int = option(
        4,
        "Off-topic sentences per step",
        "Sentences about something else, on which the model must keep answering as it did before. "
        "They keep facts from leaking into every answer.",
        low=0,
        high=4096,
    )
    spare: float = _spare(2, 0.8)
    locality_invented: float = option(
        0.5,
        "Share of made-up off-topic sentences",
        "In this share of the off-topic sentences a random noun stands in a random form (“The … of "
        "X is”), so that a form alone never draws out a fact.",
        low=0.0,
        high=1.0,
    )
    locality_weight: float = option(
        0.3,
        "Weight of the off-topic sentences",
        "How strongly they count (KL divergence to the base model).",
        low=0.0,
        high=100.0,
    )
    locality_slack: float = option(
        1.0,
        "Slack of the off-topic sentences",
        "How far an off-topic answer may drift from the base model before it counts, in nats.",
        low=0.0,
        high=100.0,
    )

    leak_weight: float = option(
        3.0,
        "Weight of the object after off-topic sentences",
        "How strongly the fact's own object is kept from being said there (unlikelihood). It stops "
        "leaks and leaves all else that may be said free.",
        low=0.0,
        high=100.0,
    )

    @property
    def rounds(self) -> int:
        """Rounds of sentences in all, over all adapters that are averaged."""
        return self.epochs * self.averaged

    def steps(self, taught: int) -> int:
        """Learning steps in all, where so many facts are taught and wordings abound."""
        each = math.ceil(taught * self.prompts_per_fact / self.batch_size)
        return self.rounds * max(each, self.least_steps if taught else 0)


@dataclass(frozen=True)
class EvaluationConfig(_Checked):
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
        "see what else the model knew and still knows. Takes some seconds after each phase.",
    )
    spot_checks: float = option(
        0.01,
        "Share of training time for the live questions",
        "While it learns, the model answers three fixed questions now and then, as often as fits "
        "into this share of the time; 0 asks none. What is learned stays the same.",
        low=0.0,
        high=1.0,
    )

    @property
    def choices(self) -> int:
        """How many candidates a question has; 0 where none are wanted."""
        return self.candidates or (USUAL_CANDIDATES if self.normalized else 0)


@dataclass(frozen=True)
class RunConfig(_Checked):
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

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RunConfig:
        """The reverse of `to_dict`.

        Raises:
            ConfigError: an option is unknown or out of its range.
        """
        return _from_dict(cls, data)

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
        return _from_dict(cls, data)


def _from_dict(cls: type, data: Any):
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
        values[name] = _from_dict(nested, value) if nested else value
    return cls(**values)


_NUMBERS = {"int": int, "float": (int, float)}


def _check_field(owner: str, f: dataclasses.Field, value: Any) -> None:
    label, low, high = f.metadata["label"], f.metadata["low"], f.metadata["high"]
    wanted = _NUMBERS.get(f.type, {"str": str, "bool": bool}.get(f.type))
    if wanted is not None and (
        not isinstance(value, wanted) or (f.type in _NUMBERS and isinstance(value, bool))
    ):
        raise ConfigError(f"{label} ({f.name}) must be a {f.type}; it is {value!r}.")
    if isinstance(value, str) and not value.strip():
        raise ConfigError(f"{label} ({f.name}) must not be empty.")
    if f.metadata["choices"] and value not in f.metadata["choices"]:
        choices = ", ".join(f.metadata["choices"])
        raise ConfigError(f"{label} ({f.name}) must be one of {choices}; it is {value!r}.")
    if (low is not None and value < low) or (high is not None and value > high) or value != value:
        span = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ConfigError(f"{label} ({f.name}) must be {span}; it is {value}.")
