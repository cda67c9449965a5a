"""Texts that the base model samples: the same each time, whatever has been learned meanwhile."""

import pytest
import torch
from accelerate import Accelerator

from rotelab.config.run_config import MemorizeConfig
from rotelab.facts.facts import FactSet
from rotelab.training.null_space import own_texts
from rotelab.training.phases import memorize


@pytest.fixture
def facts(mother):
    return FactSet(mother.facts[:8])


def test_texts_come_from_the_base_model_and_are_the_same_each_time(tiny, facts):
    first = own_texts(tiny, 3, 5, 7)
    assert [len(text) for text in first] == [8] * 5
    assert {text[0] for text in first} == {tiny.builder.separator}
    assert len(set(first)) == 5
    assert not {tiny.builder.key_id("mother")} & {token for text in first for token in text}
    state = torch.random.get_rng_state()
    config = MemorizeConfig(spare=0, epochs=1, rank=4, batch_size=4, learning_rate=1e-2)
    list(memorize(tiny, facts, config, 0, Accelerator(cpu=True)))
    tiny.use("memorized")
    torch.random.set_rng_state(state)
    assert own_texts(tiny, 3, 5, 7) == first, "whatever has been learned meanwhile"
    assert torch.equal(torch.random.get_rng_state(), state), "the random state is left alone"
    assert tiny.checkpoint == "memorized"
    assert own_texts(tiny, 4, 5, 7) != first
