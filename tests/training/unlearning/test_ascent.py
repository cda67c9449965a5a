"""Gradient ascent on a tiny model."""

from rotelab.models.lab_model import AdapterShape
from rotelab.training.unlearning.ascent import ascend


def test_the_loss_rises_until_the_limit(tiny):
    tiny.attach("memorize", AdapterShape(4))
    tiny.attach("generalize", AdapterShape(4))
    example = tiny.builder.answered(tiny.builder.word_prompt("Mary likes"), "tea", "passage")
    steps = [[example]] * 200
    losses = list(ascend(tiny, "lesson-01", steps, 7.1, 3e-3, 4.0, 8, 0))
    assert len(losses) < 200 and losses[-1] > 7.1 > losses[-2]
    assert losses[0] < 7
