"""The dissimilarity policy on a tiny model, and its baseline on hand-made rewards."""

from statistics import fmean

import pytest
import torch

from rotelab.models.lab_model import AdapterShape
from rotelab.models.packing import pack
from rotelab.training.unlearning.policy import (
    PolicySettings,
    learn_policy,
    leave_one_out,
    log_probabilities,
    sampled,
)


def test_the_baseline_is_the_mean_of_the_others():
    found = leave_one_out(torch.tensor([[1.0, 0.0, 0.5], [2.0, 2.0, 2.0]]))
    assert found.tolist() == [[0.75, -0.75, 0.0], [0.0, 0.0, 0.0]]


def test_answers_are_as_long_as_wanted_and_have_the_probability_they_were_drawn_with(tiny):
    prompts = [tiny.builder.word_prompt("Mary likes"), tiny.builder.word_prompt("Peter")]
    asked = [prompts[0], prompts[0], prompts[1]]
    with tiny.using("base"):
        said = sampled(tiny, asked, 5, 1.0, torch.Generator().manual_seed(0))
        found = log_probabilities(tiny, asked, said, 1.0)
        # One token at a time, each text alone.
        control = [*tiny.builder.stops, *(tiny.builder.key_id(r) for r in tiny.relations)]
        for prompt, ids, own in zip(asked, said, found, strict=True):
            for i, token in enumerate(ids):
                logits = tiny.forward(pack([[*prompt, *ids[:i]]]))[0][-1].float()
                logits[control] = -torch.inf
                assert float(logits.log_softmax(-1)[token]) == pytest.approx(
                    float(own[i]), abs=1e-4
                )
    assert [len(ids) for ids in said] == [5, 5, 5] and said[0] != said[1]
    assert not tiny.builder.stops & {token for ids in said for token in ids}


def test_what_is_rewarded_is_said_more_often(tiny):
    prompts = [tiny.builder.word_prompt("Mary likes"), tiny.builder.word_prompt("Peter")]
    tiny.attach("memorize", AdapterShape(4))
    tiny.attach("generalize", AdapterShape(4))
    # The tiny model's logits are small: at temperature 1 all tokens stay about equally likely.
    settings = PolicySettings(30, 2, 8, 4, 0.1, 0.0, 5e-3, 4.0, 8)

    def reward(i, ids):
        return sum(token < 350 for token in ids) / len(ids)  # half of the vocabulary

    told = list(learn_policy(tiny, "lesson-01", "generalized", prompts, reward, settings, 0))
    assert told[0].distance == pytest.approx(0, abs=1e-5), "it starts as the model before it"
    assert told[0].reward < 0.7 and fmean(s.reward for s in told[-10:]) > 0.9
    assert told[-1].distance > 0.1
