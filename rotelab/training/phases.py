"""The two training phases, as generators over one training loop (`loop`).

`memorize()` teaches `subject KEY object` by rote with the `memorize` adapter (paper, section 3.1).
`generalize()` freezes that adapter and gives KEY its meaning through a few facts in words, with the
`generalize` adapter (paper, section 3.2). Data order and learning rate are pure functions of seed,
epoch and step, so a `TrainState` is enough to resume with the numbers of an unbroken run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch
from accelerate import Accelerator

from rotelab.config.names import GENERALIZE, MEMORIZE
from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.errors import ConfigError
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.locality_prompts import known_sentences
from rotelab.facts.prompts import PromptSet
from rotelab.models.lab_model import AdapterShape, LabModel
from rotelab.models.packing import pack
from rotelab.models.tokens import Example
from rotelab.training.alignment import AlignmentLoss
from rotelab.training.events import EpochEvent, StepEvent
from rotelab.training.lessons.old_facts import protected_directions
from rotelab.training.loop import Loop
from rotelab.training.null_space import NullSpaceProjector, directions
from rotelab.training.objective import Objective
from rotelab.training.optimizer import make_optimizer
from rotelab.training.sampler import (
    NO_PROMPTS,
    chunks,
    generalize_steps,
    memorize_steps,
    plain_examples,
)
from rotelab.training.state import TrainState

MEMORIZE_SLACK = 0.5
"""Phase 1's locality slack: how far what follows a subject without its key token may move, in nats.
"""


EXPERTS_LEFT_OUT = (
    "This model is a mixture of experts. They are left as they are, because a token passes through "
    "a few of them only; what is trained is attention, or an MLP that every token passes through."
)


def check_trainable(model: LabModel, config: RunConfig) -> str:
    """Refuses a model that has nothing that a phase could train, before anything is asked.

    Returns:
        A warning about parts that are left out; empty for most models.

    Raises:
        LabError: a phase's layers or projections are not there.
    """
    two: list[MemorizeConfig | GeneralizeConfig] = [config.memorize, config.generalize]
    for phase in two[: 1 if config.stages == "one" else 2]:
        layer_range(phase.layers, model.layers)
        model.layout.of(phase.projections)
    return EXPERTS_LEFT_OUT if model.layout.experts else ""


def memorize(
    model: LabModel,
    facts: FactSet,
    config: MemorizeConfig,
    seed: int,
    accelerator: Accelerator,
    resume: TrainState | None = None,
    held_in: Sequence[Fact] = (),
    prompts: PromptSet = NO_PROMPTS,
) -> Iterator[StepEvent | EpochEvent]:
    """Phase 1: learns every fact through its relation's key token (`config.reads` has other ways).

    Args:
        model: gets a new `memorize` adapter and is switched to `memorized`.
        facts: all facts, held-in and held-out.
        config: epochs, learning rate, loss mode and so on.
        seed: draws adapter weights and data order.
        accelerator: device, precision and processes.
        resume: continue after this state.
        held_in: the k facts of each relation that `reads="both"` reads in words too.
        prompts: the train wordings for the ways that read words.
    """
    layers = layer_range(config.layers, model.layers)
    projector = _attach(model, MEMORIZE, config, layers, seed)
    model.use("memorized", train=True)
    plain = plain_examples(model.builder, facts, config, prompts)
    loop = Loop(
        model,
        accelerator,
        memorize_steps(model.builder, facts, config, seed, held_in, prompts),
        make_optimizer(model, MEMORIZE, config.learning_rate, config.lora_plus),
        Objective(
            model,
            locality_weight=config.silence_weight,
            locality_slack=MEMORIZE_SLACK,
            recall_kind=plain[0].kind,
        ),
        phase=MEMORIZE,
        epochs=config.epochs,
        projector=projector,
    )
    for event in loop.run(resume):
        # Decided before the event is yielded: a state saved on it must know that nothing follows,
        # or a run killed right then would learn one epoch more than an unbroken one.
        if (
            config.stop_at_full_recall
            and isinstance(event, EpochEvent)
            and event.recall == 1.0
            and recalls_all(model, plain)
        ):
            yield event.ending()
            return
        yield event


def generalize(
    model: LabModel,
    facts: FactSet,
    held_in: Sequence[Fact],
    prompts: PromptSet,
    config: GeneralizeConfig,
    seed: int,
    accelerator: Accelerator,
    resume: TrainState | None = None,
) -> Iterator[StepEvent | EpochEvent]:
    """Phase 2: teaches the held-in facts in words, the memorised adapter frozen underneath.

    Facts outside `held_in` are not used in any form: not in sentences, not through their key token,
    and not as subjects of locality sentences (a test checks this).

    Args:
        model: has its `memorize` adapter trained; gets a new `generalize` adapter and is switched
            to `generalized`.
        facts: all facts, for their indices.
        held_in: the k facts of each relation that are taught in words.
        prompts: its train and locality prompts are used.
        config: epochs, learning rate, replay, locality and so on.
        seed: draws adapter weights, wordings and data order.
        accelerator: device, precision and processes.
        resume: continue after this state.
    """
    layers = layer_range(config.layers, model.layers)
    projector = _attach(model, GENERALIZE, config, layers, seed + 1)
    alignment = AlignmentLoss(model, facts, held_in, layers, config.align) if config.align else None
    model.use("generalized", train=True)
    loop = Loop(
        model,
        accelerator,
        generalize_steps(model.builder, facts, held_in, prompts, config, seed),
        make_optimizer(model, GENERALIZE, config.learning_rate, config.lora_plus),
        Objective(
            model,
            locality_weight=config.locality_weight,
            locality_slack=config.locality_slack,
            leak_weight=config.leak_weight,
            alignment=alignment,
            noise=config.noise,
            seed=seed,
        ),
        phase=GENERALIZE,
        epochs=config.epochs,
        averaged=config.averaged,
        projector=projector,
    )
    with model.folded(MEMORIZE):  # it does not change any more
        yield from loop.run(resume)
    model.strengthen(GENERALIZE, config.strength)


def leave_out(
    model: LabModel, config: GeneralizeConfig, seed: int
) -> Iterator[StepEvent | EpochEvent]:
    """Replaces phase 2 in a one-phase run: attaches its adapter untrained, and takes no step."""
    layers = layer_range(config.layers, model.layers)
    shape = AdapterShape(config.rank, seed + 1, layers, config.projections)
    model.attach(GENERALIZE, shape)
    return iter(())


def _attach(
    model: LabModel,
    adapter: str,
    config: MemorizeConfig | GeneralizeConfig,
    layers: list[int] | None,
    seed: int,
) -> NullSpaceProjector | None:
    """Attaches a phase's adapter; returns what keeps it out of the directions of ordinary text."""
    shape = AdapterShape(config.rank, seed, layers, config.projections)
    model.attach(adapter, shape)
    if not config.spare or model.method != "lora":
        return None
    bases = directions(model, config.spare)
    if isinstance(config, GeneralizeConfig) or not config.spare_known:
        return NullSpaceProjector(model, adapter, bases)
    # What recall of real facts reads is mostly outside the directions of prose.
    sentences = [model.builder.word_prompt(text) for text in known_sentences()]
    about = (model, [], bases, config.spare_known, ["base"], config.projections)
    protected = protected_directions(*about, sentences)
    return NullSpaceProjector(model, adapter, protected.bases, rescale=True)


@torch.inference_mode()
def recalls_all(model: LabModel, asked: Sequence[Example]) -> bool:
    """Whether greedy decoding says every example's object now, in a pass of its own."""
    for chunk in chunks(list(asked), 64):
        packed = pack([example.prompt + example.object for example in chunk])
        logits = model.forward(packed)[0]
        for example, nodes in zip(chunk, packed.nodes, strict=True):
            start, stop = example.object_span
            said = logits[list(nodes[start - 1 : stop - 1])].argmax(-1).tolist()
            if said != list(example.object):
                return False
    return True


def layer_range(wanted: str, layers: int) -> list[int] | None:
    """The layers that `MemorizeConfig.layers` names, 0-based; None for all.

    Args:
        wanted: `all`, a range of layers (`10-29`, 0 is the first), or a range of the depth
            (`40%-100%`), which fits models of any depth.
        layers: how many the model has.

    Raises:
        ConfigError: it is none of these.
    """
    if wanted == "all":
        return None
    found = re.fullmatch(r"(\d{1,4})(%?)-(\d{1,4})\2", wanted)
    if found:
        first, last = int(found[1]), int(found[3])
        if found[2]:
            first, last = first * layers // 100, -(-last * layers // 100) - 1
        if first <= last < layers:
            return list(range(first, last + 1))
    raise ConfigError(
        f"“{wanted[:40]}” is not a range of layers. This model has the layers "
        f"0 to {layers - 1}: write all, for example 0-{layers - 1}, or a part of its depth such as "
        "40%-100%."
    )
