"""The base model's logits ahead of training: those of a pass by itself, and the same training."""

import pytest
import torch
from accelerate import Accelerator

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig
from rotelab.facts.facts import FactSet
from rotelab.models.packing import pack
from rotelab.training.events import StepEvent
from rotelab.training.phases import generalize, memorize
from rotelab.training.teacher import base_logits
from rotelab.training.teacher.base_logits import BaseLogits

PROMPTS = [(0, 5, 9), (0, 5, 9, 11), (0, 7), (0, 5, 9), (0, 8, 8, 8, 3)]


def alone(model, prompt):
    packed = pack([prompt])
    last = torch.tensor([packed.nodes[0][-1]])
    with torch.no_grad():
        return model.forward(packed, last, checkpoint="base")[0][0].float()


def test_they_are_those_of_a_pass_by_itself(tiny, monkeypatch):
    monkeypatch.setattr(base_logits, "BATCH_TOKENS", 6)
    found = BaseLogits(tiny)
    found.find(PROMPTS)
    wanted = torch.stack([alone(tiny, prompt) for prompt in PROMPTS])
    torch.testing.assert_close(found.of(PROMPTS), wanted, atol=1e-4, rtol=0)
    assert found.of([*PROMPTS, (0, 1)]) is None


def test_too_many_are_left_to_the_steps(tiny):
    found = BaseLogits(tiny, limit=1000)
    found.find(PROMPTS)
    assert found.of(PROMPTS[:1]) is None
    nothing = BaseLogits(tiny)
    nothing.find([])
    assert nothing.of(PROMPTS[:1]) is None


def trained(tiny_folder, mother, limit, monkeypatch):
    """The steps' losses and the passes of the base model, of both phases."""
    from rotelab.config.run_config import ModelSpec
    from rotelab.models.loading import load_model

    torch.set_num_threads(1)
    model = load_model(ModelSpec(str(tiny_folder), "cpu", "float32"), ["mother"], 0)
    passes, forward = [], model.forward

    def counted(packed, keep, **options):
        passes.append(options.get("checkpoint"))
        return forward(packed, keep, **options)

    model.forward = counted
    monkeypatch.setattr(base_logits.BaseLogits.__init__, "__defaults__", (limit,))
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    facts = FactSet(list(mother.facts)[:8])
    rote = MemorizeConfig(spare=0, epochs=3, rank=4, batch_size=4)
    words = GeneralizeConfig(spare=0, k=4, rank=2, least_steps=3, prompts_per_fact=2)
    events = [*memorize(model, facts, rote, 0, accelerator)]
    about = (model, facts, list(facts)[:4], mother.prompts, words, 0, accelerator)
    events += generalize(*about)
    losses = [e.loss for e in events if isinstance(e, StepEvent)]
    return losses, passes.count("base")


def test_training_is_the_same_with_fewer_passes(tiny_folder, mother, monkeypatch):
    before, passes = trained(tiny_folder, mother, 0, monkeypatch)
    after, fewer = trained(tiny_folder, mother, base_logits.LIMIT_BYTES, monkeypatch)
    assert after == pytest.approx(before, rel=1e-3)
    assert fewer < passes / 2
