"""The options of a later lesson. A field's help is its docstring and the form's hint."""

from __future__ import annotations

from dataclasses import dataclass

from rotelab.config.checked import Checked, option
from rotelab.config.names import MOST_LESSONS
from rotelab.config.phases import PROJECTION_CHOICES, spare_option


@dataclass(frozen=True)
class LessonConfig(Checked):
    """A later lesson: new facts of known relations, learned by rote alone (docs/method)."""

    number: int = option(1, "Lesson", "Which lesson of its run it is.", low=1, high=MOST_LESSONS)
    run_facts: int = option(
        0, "Facts of the run", "How many of the facts are the run's own, the first ones.", low=0
    )
    old_facts: int = option(
        0,
        "Facts before the lesson",
        "How many of the facts were known before: the run's own and those of earlier lessons.",
        low=0,
    )
    epochs: int = option(
        25,
        "Rounds of rote learning, lesson",
        "How often every new fact is read. Small lessons take more rounds (see the next option).",
        low=1,
        high=500,
    )
    least_steps: int = option(
        25,
        "Learning steps at least, lesson",
        "A lesson of few facts takes more rounds, until it has so many learning steps.",
        low=0,
        high=100_000,
    )
    learning_rate: float = option(
        1e-3, "Learning rate, lesson", "Size of each learning step.", low=1e-7, high=1.0
    )
    rank: int = option(
        32, "Adapter rank, lesson", "Capacity of the lesson's adapter.", low=1, high=1024
    )
    batch_size: int = option(
        20, "Facts per step, lesson", "How many facts one learning step sees.", low=1, high=4096
    )
    steps_per_round: int = option(
        2,
        "Steps of a round at least, lesson",
        "A round of few facts takes so many learning steps, as long as a step keeps four facts.",
        low=1,
        high=1000,
    )
    layers: str = option(
        "all",
        "Layers that store, lesson",
        "Which layers get the lesson's adapter: all, a range such as 0-15, or a part of the depth "
        "such as 0%-50%.",
    )
    projections: str = option(
        "mlp",
        "Parts of a layer that store, lesson",
        "mlp: the MLP; qkvo: attention; vo: what it brings along; qk: where it looks; all: both.",
        choices=PROJECTION_CHOICES,
    )
    silence: int = option(
        1,
        "Sentences without key token per step, lesson",
        "In so many of a step's sentences the model is held to what it would have said before the "
        "key token comes.",
        low=0,
        high=4096,
    )
    spare: float = spare_option("lesson", 0.8)
    keep: float = option(
        0.995,
        "Share of the old facts' activity protected",
        "The lesson stays out of the directions that hold this share of what the old facts use "
        "inside the model, outside those of ordinary text, so that they stay as they are. 0 "
        "protects nothing.",
        low=0.0,
        high=0.9999,
    )
    calm: float = option(
        10.0,
        "Weight of the old facts' disturbance",
        "How strongly the lesson is kept from changing what the old facts give inside the model in "
        "the directions that are not protected.",
        low=0.0,
        high=10_000.0,
    )
    rehearse: int = option(
        0,
        "Old facts rehearsed per step",
        "So many old facts are read along in every step, for comparison; protected ones need none.",
        low=0,
        high=4096,
    )
