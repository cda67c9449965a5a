"""The options of the two training phases. A field's help is its docstring and the form's hint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from rotelab.config.checked import Checked, option

PROJECTION_CHOICES = ("mlp", "gates", "down", "qkvo", "vo", "qk", "all")
"""Parts of a transformer layer that a phase may train; see `models.architecture.layout`."""

LossMode = Literal["normal", "s-o", "o"]


def spare_option(phase: str, default: float) -> Any:
    return option(
        default,
        f"Ordinary activity protected, {phase}",
        "The adapter stays out of the directions that hold this share of what ordinary text uses "
        "inside the model (null-space projection), so that less of the rest is forgotten. 0 "
        "protects nothing; near 1 leaves too little to learn with.",
        low=0.0,
        high=0.999,
    )


@dataclass(frozen=True)
class MemorizeConfig(Checked):
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
    spare: float = spare_option("phase 1", 0.9)
    spare_known: float = option(
        0.0,
        "Real facts' activity protected, phase 1",
        "The adapter also stays out of the directions that hold this share of what sentences about "
        "real things use inside the model, beyond those of ordinary text. 0 protects nothing more.",
        low=0.0,
        high=0.999,
    )
    # No recipe sets it, but it has a command-line flag of its own, so recorded commands may use it.
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
class GeneralizeConfig(Checked):
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
        "Alignment with the key token, phase 2",
        "How strongly a question's hidden state is pulled towards the one behind the key token, in "
        "the layers that route. It helps new wordings most; at 0 the two become similar by "
        "themselves.",
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
    known_sentences: int = option(
        0,
        "Sentences about real things per step, phase 2",
        "On so many beginnings of sentences about real things (none of them in the quiz of real "
        "facts) the model must go on as it did before.",
        low=0,
        high=4096,
    )
    spare: float = spare_option("phase 2", 0.8)
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
