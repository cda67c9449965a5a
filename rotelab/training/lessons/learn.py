"""A later lesson: new facts of known relations, by rote alone, in an adapter of its own.

Once a run knows what its key tokens mean, a fact that is learned through the key token can be asked
for in words at once. So a lesson reads no sentence in words: only `subject KEY object`, with
`memorize`, `generalize` and the key tokens frozen. `generalize` is off while it learns: with it on,
the sentences that hold the model silent would work against it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from accelerate import Accelerator

from rotelab.config.lessons import LessonConfig
from rotelab.config.names import LESSON, lesson_checkpoint, rote_state
from rotelab.config.run_config import MemorizeConfig
from rotelab.facts.facts import Fact, FactSet
from rotelab.models.lab_model import AdapterShape, LabModel
from rotelab.training.events import EpochEvent, StepEvent
from rotelab.training.lessons.old_facts import DisturbancePenalty, Protected
from rotelab.training.loop import Loop
from rotelab.training.null_space import NullSpaceProjector
from rotelab.training.objective import Objective
from rotelab.training.optimizer import make_optimizer
from rotelab.training.phases import MEMORIZE_SLACK, layer_range
from rotelab.training.sampler import Step, StepSampler, memorize_steps, steps_per_epoch
from rotelab.training.state import TrainState


def learn_lesson(
    model: LabModel,
    facts: FactSet,
    number: int,
    config: LessonConfig,
    like: MemorizeConfig,
    protected: Protected | None,
    seed: int,
    accelerator: Accelerator,
    resume: TrainState | None = None,
    old: Sequence[Fact] = (),
) -> Iterator[StepEvent | EpochEvent]:
    """Teaches new facts through their key tokens.

    Args:
        model: has `memorize`, `generalize` and all earlier lessons; gets this lesson's adapter.
        facts: the new facts alone.
        number: which lesson of the run it is, from 1.
        config: rounds, learning rate, rank and so on.
        like: how the run's phase 1 read its facts: loss, inserts, lead-ins.
        protected: the directions that the adapter keeps out of; None for none.
        seed: draws adapter weights and data order.
        accelerator: device, precision and processes.
        resume: continue after this state.
        old: facts to read along (`config.rehearse` in each step); fact indices in events are those
            of `facts` alone.
    """
    adapter = lesson_checkpoint(number)
    read = as_phase_1(config, like, len(facts))
    layers = layer_range(config.layers, model.layers)
    model.attach(adapter, AdapterShape(config.rank, seed, layers, config.projections))
    projector, penalty = _guards(model, adapter, protected, config.calm)
    model.use(rote_state(number), train=True)
    loop = Loop(
        model,
        accelerator,
        _with_old(
            memorize_steps(model.builder, facts, read, seed, least_steps=config.steps_per_round),
            model,
            old,
            config.rehearse,
            seed,
        ),
        make_optimizer(model, "memorize", config.learning_rate, like.lora_plus),
        Objective(
            model,
            locality_weight=like.silence_weight,
            locality_slack=MEMORIZE_SLACK,
            recall_kind="key",
            penalty=penalty,
        ),
        phase=LESSON,
        epochs=read.epochs,
        projector=projector,
    )
    earlier = (lesson_checkpoint(n) for n in range(1, number))
    with model.folded("memorize", *earlier):
        yield from loop.run(resume)


def _guards(
    model: LabModel, adapter: str, protected: Protected | None, calm: float
) -> tuple[NullSpaceProjector | None, DisturbancePenalty | None]:
    """What keeps the adapter out of the protected directions, and calm in the others."""
    if protected is None or not protected.bases:
        return None, None
    projector = NullSpaceProjector(model, adapter, protected.bases, True, model.dtype)
    return projector, DisturbancePenalty(model, adapter, protected, calm) if calm else None


def as_phase_1(config: LessonConfig, like: MemorizeConfig, facts: int) -> MemorizeConfig:
    """How a lesson reads so many facts, as settings of phase 1."""
    each = steps_per_epoch(facts, config.batch_size, config.steps_per_round)
    epochs = max(config.epochs, math.ceil(config.least_steps / each))
    return replace(
        like,
        epochs=epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        silence=config.silence,
        reads="key",
    )


def _with_old(
    steps: StepSampler, model: LabModel, old: Sequence[Fact], count: int, seed: int
) -> StepSampler:
    """The same steps with some old facts in each, for comparison (rehearsal)."""
    if not old or not count:
        return steps
    import random

    def steps_of(epoch: int) -> list[Step]:
        rng = random.Random(f"rehearse {seed} {epoch}")
        return [
            Step(
                [
                    *step.examples,
                    # Not counted among the facts that the lesson teaches.
                    *(
                        replace(model.builder.rote(fact, -1, "o"), kind="old")
                        for fact in rng.sample(list(old), min(count, len(old)))
                    ),
                ],
                step.locality,
            )
            for step in steps(epoch)
        ]

    return steps_of
