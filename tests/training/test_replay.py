"""The model's own texts: the base model's, the same each time, held to while facts are learned."""

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from rotelab.config.run_config import MemorizeConfig
from rotelab.facts.facts import FactSet
from rotelab.models.packing import pack
from rotelab.training.phases import memorize
from rotelab.training.replay import own_texts

ROTE = MemorizeConfig(
    spare=0,
    epochs=6,
    rank=4,
    batch_size=4,
    lead_ins=0.0,
    inserts=0.0,
    silence=0,
    learning_rate=1e-2,
)


@pytest.fixture
def facts(mother):
    return FactSet(mother.facts[:8])


def learn(model, facts, config):
    return [
        e for e in memorize(model, facts, config, 0, Accelerator(cpu=True)) if hasattr(e, "losses")
    ]


def apart(model, texts):
    """Mean KL(base || memorised) over texts, in nats."""
    packed = pack(texts)
    with model.using("memorized"):
        now = model.forward(packed)[0].float().log_softmax(-1)
        base = model.forward(packed, checkpoint="base")[0].float().log_softmax(-1)
    return float((base.exp() * (base - now)).sum(-1).mean())


def test_texts_are_the_base_model_s_and_the_same_each_time(tiny, facts):
    first = own_texts(tiny, 3, 5, 7)
    assert [len(text) for text in first] == [8] * 5
    assert {text[0] for text in first} == {tiny.builder.separator}
    assert len(set(first)) == 5
    assert not {tiny.builder.key_id("mother")} & {token for text in first for token in text}
    state = torch.random.get_rng_state()
    learn(tiny, facts, replace(ROTE, epochs=1))
    tiny.use("memorized")
    torch.random.set_rng_state(state)
    assert own_texts(tiny, 3, 5, 7) == first, "whatever was learned meanwhile"
    assert torch.equal(torch.random.get_rng_state(), state), "the random state is left alone"
    assert tiny.checkpoint == "memorized"
    assert own_texts(tiny, 4, 5, 7) != first
