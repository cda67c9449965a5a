"""Which parameters learn how fast, and when."""

import pytest
import torch

from rotelab.config.run_config import ModelSpec
from rotelab.models.lab_model import AdapterShape
from rotelab.models.loading import load_model
from rotelab.training.optimizer import make_optimizer, make_scheduler, schedule


@pytest.fixture
def learning(tiny):
    tiny.attach("memorize", AdapterShape(4))
    tiny.use("memorized", train=True)
    return tiny


def rates(model, optimizer):
    """Learning rate by parameter name."""
    names = {parameter: name for name, parameter in model.trainable().items()}
    found = [(names[p], group["lr"]) for group in optimizer.param_groups for p in group["params"]]
    assert len(found) == len(names), "every trainable parameter once"
    return dict(found)


def test_lora_b_learns_faster_and_key_token_rows_as_fast_as_a(learning):
    found = rates(learning, make_optimizer(learning, "memorize", 1e-3, 4.0))
    late = {name for name in found if "lora_B" in name}
    assert {found[name] for name in late} == {4e-3}
    assert {rate for name, rate in found.items() if name not in late} == {1e-3}
    assert any("trainable_tokens_delta" in name for name in found.keys() - late)


@pytest.mark.parametrize("phase, betas", [("memorize", (0.9, 0.95)), ("generalize", (0.9, 0.999))])
def test_nothing_decays_and_each_phase_has_its_betas(learning, phase, betas):
    for group in make_optimizer(learning, phase, 1e-3, 4.0).param_groups:
        assert (group["weight_decay"], group["betas"], group["fused"]) == (0.0, betas, True)


def test_full_weights_learn_at_one_rate(tiny_folder):
    model = load_model(ModelSpec(str(tiny_folder), "cpu", "float32"), ["mother"], method="full")
    model.attach("memorize", AdapterShape())
    model.use("memorized", train=True)
    assert set(rates(model, make_optimizer(model, "memorize", 1e-3, 4.0)).values()) == {1e-3}


def test_the_schedule_rises_stays_and_falls():
    factors = [schedule(step, 100) for step in range(1, 101)]
    assert factors[:5] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert set(factors[4:69]) == {1.0}
    assert all(a > b > 0 for a, b in zip(factors[70:], factors[71:], strict=False))
    assert factors[-1] < 0.05


def taken(steps, count, done=0):
    """The learning rates of `count` steps of an optimizer with two groups."""
    groups = [{"params": [torch.ones(1, requires_grad=True)], "lr": lr} for lr in (0.002, 0.006)]
    optimizer = torch.optim.SGD(groups)
    scheduler = make_scheduler(optimizer, steps, done)
    found = []
    for _ in range(count):
        found.append(tuple(group["lr"] for group in optimizer.param_groups))
        optimizer.step()
        scheduler.step()
    return found


def test_every_group_follows_the_schedule_again_for_each_adapter():
    once = [(0.002 * schedule(step, 7), 0.006 * schedule(step, 7)) for step in range(1, 8)]
    assert taken(7, 14) == once + once


@pytest.mark.parametrize("done", [1, 6, 7, 9])
def test_a_resumed_schedule_goes_on_where_it_was(done):
    assert taken(7, 5, done) == taken(7, 14)[done : done + 5]


def test_a_phase_without_steps_has_a_schedule_too():
    assert taken(0, 0) == []
