"""Frozen adapters folded into the weights: the same numbers, and everything else as it was."""

import pytest
import torch

from rotelab.config.names import rote_state
from rotelab.models.architecture import folded
from rotelab.models.lab_model import AdapterShape
from rotelab.models.packing import pack

PACKED = pack([(0, 5, 9, 11, 13, 7), (0, 5, 7, 21)])


@pytest.fixture
def two(tiny):
    """The tiny model with a trained rote adapter, and a second one in training."""
    tiny.attach("memorize", AdapterShape(4, 0))
    with torch.no_grad():
        for name, weight in tiny.tensors("memorize").items():
            if "lora_B" in name:
                weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(3))
    tiny.attach("generalize", AdapterShape(2, 1))
    tiny.use("generalized", train=True)
    return tiny


def trained(model):
    """A pass's logits, and the gradients of what takes any."""
    model.network.zero_grad(set_to_none=True)
    logits = model.forward(PACKED)[0]
    logits.square().sum().backward()
    return logits.detach(), {n: p.grad.clone() for n, p in model.trainable().items()}


def asked(model, checkpoint):
    with model.using(checkpoint):
        return model.forward(PACKED)[0]


def test_logits_and_gradients_are_the_same(two, monkeypatch):
    logits, gradients = trained(two)
    saved = {name: weight.clone() for name, weight in two.tensors("memorize").items()}
    products = []
    real = torch.nn.functional.linear
    monkeypatch.setattr(
        torch.nn.functional, "linear", lambda *about: products.append(1) or real(*about)
    )
    apart = products.copy()
    trained(two)
    apart, products[:] = len(products), []
    with two.folded("memorize") as is_folded:
        again, same = trained(two)
    assert is_folded and len(products) == apart - 2 * 3 * two.layers, (
        "A and B of three maps a layer"
    )
    torch.testing.assert_close(again, logits, atol=1e-5, rtol=1e-4)
    assert set(same) == set(gradients) and all("generalize" in name for name in same)
    for name, gradient in gradients.items():
        torch.testing.assert_close(same[name], gradient, atol=1e-4, rtol=1e-3)
    for name, weight in two.tensors("memorize").items():
        torch.testing.assert_close(weight, saved[name], atol=0, rtol=0)


def test_other_checkpoints_are_asked_meanwhile_and_nothing_stays(two):
    two.use("generalized")
    before = {name: asked(two, name) for name in two.has}
    assert not torch.allclose(before["base"], before["memorized"], atol=1e-3)
    with two.folded("memorize"):
        torch.testing.assert_close(asked(two, "base"), before["base"], atol=0, rtol=0)
        for name in two.has:
            torch.testing.assert_close(asked(two, name), before[name], atol=1e-5, rtol=1e-4)
        alone = two.forward(PACKED, checkpoint="base")[0]
        torch.testing.assert_close(alone, before["base"], atol=0, rtol=0)
    for name in two.has:
        torch.testing.assert_close(asked(two, name), before[name], atol=0, rtol=0)


def test_an_adapter_on_the_same_maps_is_trained_beside_those_that_are_folded(two):
    """As a later lesson is: on the maps that hold the rote adapter and the lessons before it."""
    for name, rank, seed in (("lesson-01", 3, 2), ("lesson-02", 4, 3)):
        two.attach(name, AdapterShape(rank, seed))
        with torch.no_grad():
            for key, weight in two.tensors(name).items():
                if "lora_B" in key:
                    weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(seed))
    two.use(rote_state(2), train=True)
    logits, gradients = trained(two)
    two.use("lesson-02")
    before = {name: asked(two, name) for name in two.has}
    with two.folded("memorize", "lesson-01") as is_folded:
        assert is_folded
        for name in two.has:  # those that lack a folded adapter too
            torch.testing.assert_close(asked(two, name), before[name], atol=1e-5, rtol=1e-4)
        two.use(rote_state(2), train=True)
        again, same = trained(two)
    torch.testing.assert_close(again, logits, atol=1e-5, rtol=1e-4)
    assert set(same) == set(gradients) and all("lesson-02" in name for name in same)
    for name, gradient in gradients.items():
        torch.testing.assert_close(same[name], gradient, atol=1e-4, rtol=1e-3)


def test_what_can_not_be_folded_is_left(two, monkeypatch):
    two.detach("generalize")
    two.use("memorized")
    monkeypatch.setattr(folded, "LIMIT_BYTES", 1000)
    with two.folded("memorize") as is_folded:
        assert not is_folded, "it would take too much memory"
    monkeypatch.undo()
    two.network.to(torch.bfloat16)
    with two.folded("memorize") as is_folded:
        assert not is_folded, "it would be lost in rounding"
