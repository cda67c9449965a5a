"""The two training phases, as generators over one training loop (`training_loop`).

`memorize()` teaches `subject KEY object` by rote with the `memorize` adapter (paper, section 3.1);
`generalize()` freezes that and gives KEY its meaning with a few facts in words, with the
`generalize` adapter (paper, section 3.2). Data order and learning rate are pure functions of seed,
epoch and step, so a `TrainState` is all that is needed to go on as if nothing had happened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch
from accelerate import Accelerator

from rotelab.config.names import GENERALIZE, MEMORIZE
from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig
from rotelab.errors import ConfigError
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.prompts import PromptSet
from rotelab.models.lab_model import PROJECTIONS, AdapterShape, LabModel
from rotelab.models.packing import pack
from rotelab.models.tokens import Example
from rotelab.training.alignment import Likeness
from rotelab.training.loop import EpochEvent, Loop, StepEvent
from rotelab.training.sampler import NO_PROMPTS, asked_plainly, chunks, rote_plan, word_plan
from rotelab.training.state import TrainState

SILENCE_SLACK = 0.5
"""How far phase 1 may move what follows a subject without its key token, in nats."""


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
    """Phase 1: learns every fact through its relation's key token, unless `config.reads` says
    otherwise.

    Args:
        model: is switched to `memorized`, its `memorize` adapter attached anew unless resumed into.
        facts: all facts, held-in and held-out.
        config: epochs, learning rate, loss mode and so on.
        seed: draws adapter weights and data order.
        accelerator: device, precision and processes.
        resume: go on after this state.
        held_in: the k facts of each relation that are read in words too, where `both` are read.
        prompts: their train wordings, where words are read.
    """
    layers = layer_range(config.layers, model.layers)
    model.attach(MEMORIZE, AdapterShape(config.rank, seed, layers, PROJECTIONS[config.projections]))
    model.use("memorized", train=True)
    weight, slack = config.silence_weight, SILENCE_SLACK
    plan = rote_plan(model.builder, facts, config, seed, held_in, prompts)
    asked = asked_plainly(model.builder, facts, config, prompts)
    loop = Loop(model, accelerator, "memorize", config, plan, weight, slack, seed=seed)
    loop.recalled = asked[0].kind
    loop.rehearse(config.own_text, config.own_text_weight)
    loop.spare(config.spare)
    for event in loop.run(resume):
        # Asked before the event is out: a state saved on it must know that nothing follows, or a
        # run that is killed right then would learn one epoch more than an unbroken one.
        if (
            config.stop_at_full_recall
            and isinstance(event, EpochEvent)
            and event.recall == 1.0
            and recalls_all(model, asked)
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

    Facts outside `held_in` take no part in any form: neither their sentences, nor their rehearsal
    through the key token, nor their subjects in off-topic sentences (a test holds this).

    Args:
        model: its `memorize` adapter trained; is switched to `generalized`.
        facts: all facts, for their indices.
        held_in: the k facts of each relation that are taught in words.
        prompts: train and locality prompts are used.
        config: epochs, learning rate, replay, locality and so on.
        seed: draws adapter weights, wordings and data order.
        accelerator: device, precision and processes.
        resume: go on after this state.
    """
    layers = layer_range(config.layers, model.layers)
    shape = AdapterShape(config.rank, seed + 1, layers, PROJECTIONS[config.projections])
    model.attach(GENERALIZE, shape)
    likeness = Likeness(model, facts, held_in, layers, config.align) if config.align else None
    model.use("generalized", train=True)
    plan = word_plan(model.builder, facts, held_in, prompts, config, seed)
    loop = Loop(
        model,
        accelerator,
        "generalize",
        config,
        plan,
        config.locality_weight,
        config.locality_slack,
        config.noise,
        seed,
    )
    loop.likeness = likeness
    loop.leak_weight = config.leak_weight
    loop.rehearse(config.own_text, config.own_text_weight)
    loop.spare(config.spare)
    yield from loop.run(resume)
    model.strengthen(GENERALIZE, config.strength)


def leave_out(
    model: LabModel, config: GeneralizeConfig, seed: int
) -> Iterator[StepEvent | EpochEvent]:
    """Instead of phase 2: its adapter as it begins, which changes nothing, and no step."""
    layers = layer_range(config.layers, model.layers)
    shape = AdapterShape(config.rank, seed + 1, layers, PROJECTIONS[config.projections])
    model.attach(GENERALIZE, shape)
    return iter(())


@torch.inference_mode()
def recalls_all(model: LabModel, asked: Sequence[Example]) -> bool:
    """Whether every example's object comes out now, measured exactly."""
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
    """The layers that `MemorizeConfig.layers` names; None for all.

    Args:
        wanted: `all`, a range of layers (`10-29`, 0 is the first), or one of the depth
            (`40%-100%`), which means the like in models of any depth.
        layers: how many there are.

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
