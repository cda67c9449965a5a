"""What training reports while it runs: every step and every epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rotelab.training.state import TrainState


@dataclass(frozen=True)
class StepEvent:
    """One optimizer step was taken.

    Args:
        phase: `memorize` or `generalize`.
        epoch: 1-based.
        step: 1-based, counted through the phase.
        steps: number of steps in the phase.
        loss: the step's loss: the mean in nats per learned token plus all weighted terms.
        losses: its parts before weighting. By kind of example (`key`, `bare`, `train`): mean nats
            per learned token. `locality`: mean KL divergence from the base model in nats.
            `likeness`: one minus a mean cosine. `leak`: mean probability of the object after
            locality sentences.
        learning_rate: of this step, for LoRA's A matrices; B learns `lora_plus` times as fast.
        tokens: tokens read.
        seconds: wall time.
    """

    phase: str
    epoch: int
    step: int
    steps: int
    loss: float
    losses: dict[str, float]
    learning_rate: float
    tokens: int
    seconds: float


@dataclass(frozen=True)
class TrainingRecall:
    """How well the model knew a fact when training last read it, before that step's update.

    Args:
        probability: joint probability of the object's tokens.
        recalled: whether each of them was the most likely one, so greedy decoding would say it.
        said: what greedy decoding would have said, as far as this pass shows: the object's tokens
            up to and including the first that differs, or the object and the token after it.
    """

    probability: float
    recalled: bool
    said: tuple[int, ...] = ()


@dataclass(frozen=True)
class EpochEvent:
    """An epoch ended.

    Args:
        phase: `memorize` or `generalize`.
        epoch: 1-based.
        epochs: number of epochs in the phase.
        step: steps taken so far.
        recall: share of the facts in `facts` that were recalled; NaN if none was read. It comes
            from the training passes themselves, so it costs nothing and lags by up to an epoch.
        facts: recall by fact index, of the facts read through their key token in this epoch.
        state: makes the `TrainState` of this moment (a copy; costs memory).
        last: whether the phase ends with this epoch.
    """

    phase: str
    epoch: int
    epochs: int
    step: int
    recall: float
    facts: dict[int, TrainingRecall]
    state: Callable[[], TrainState]
    last: bool = False

    def ending(self) -> EpochEvent:
        """The same event for a phase that ends here although epochs are left."""
        return replace(self, last=True, state=lambda: replace(self.state(), done=True))
