"""Each term of the loss on tensors small enough to work out by hand."""

import math

import pytest
import torch

from rotelab.training import losses

LN2 = math.log(2)


def odds(*weights):
    """Logits of the distribution that is proportional to these weights."""
    return [math.log(weight) for weight in weights]


def test_a_learned_token_costs_minus_the_logarithm_of_its_probability():
    logits = torch.tensor([odds(1, 1, 2), odds(1, 1, 2), odds(6, 1, 1)])
    nll = losses.learned_tokens(logits, torch.tensor([2, 0, 0]))
    assert nll.tolist() == pytest.approx([LN2, 2 * LN2, math.log(8 / 6)])


def test_alignment_is_one_minus_the_cosine_whatever_the_lengths():
    teacher = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])  # two questions, one layer
    assert losses.alignment(3 * teacher, teacher).item() == pytest.approx(0)
    assert losses.alignment(-teacher, teacher).item() == pytest.approx(2)
    turned = torch.tensor([[[0.0, 1.0]], [[0.0, 5.0]]])  # at right angles, and equal
    assert losses.alignment(turned, teacher).item() == pytest.approx(0.5)


def test_alignment_counts_every_layer_alike():
    teacher = torch.ones(1, 4, 2)
    states = torch.ones(1, 4, 2)
    states[0, 3] = torch.tensor([100.0, -100.0])
    assert losses.alignment(states, teacher).item() == pytest.approx(1 / 4)


def test_divergence_weighs_by_the_base_model():
    now = torch.tensor([odds(1, 3), odds(1, 1)])
    base = torch.tensor([odds(1, 1), odds(1, 1)])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert losses.divergence(now, base).tolist() == pytest.approx([expected, 0])
    other_way = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert losses.divergence(base, now)[0].item() == pytest.approx(other_way)


def test_locality_counts_only_what_goes_beyond_the_slack():
    divergences = torch.tensor([0.2, 1.0, 2.5], requires_grad=True)
    term = losses.locality(divergences, 1.0)
    assert term.item() == pytest.approx(1.5 / 3)
    term.backward()
    assert divergences.grad.tolist() == pytest.approx([0, 0, 1 / 3])
    assert losses.locality(divergences, 0.0).item() == pytest.approx(3.7 / 3)


def test_next_token_probability():
    logits = torch.tensor([odds(1, 1, 2), odds(7, 2, 1)])
    found = losses.next_token_probability(logits, torch.tensor([2, 1]))
    assert found.tolist() == pytest.approx([0.5, 0.2])


def test_leak_is_the_unlikelihood_and_stays_finite():
    assert losses.leak(torch.tensor([0.0, 0.5])).item() == pytest.approx(LN2 / 2)
    assert losses.leak(torch.tensor([1.0])).item() == pytest.approx(-math.log(0.001), rel=1e-3)


def test_means_are_taken_within_each_kind():
    values = torch.tensor([1.0, 2.0, 6.0])
    assert losses.mean_by_kind(["key", "train", "key"], values) == {"key": 3.5, "train": 2.0}
