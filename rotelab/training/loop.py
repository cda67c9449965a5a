"""The one training loop of both phases: steps, epochs, averaged adapters, resuming.

It trains on whatever its sampler gives it. It saves and logs nothing itself: it yields events.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from rotelab.models.lab_model import LabModel
from rotelab.training.averaging import AdapterAverage
from rotelab.training.events import EpochEvent, StepEvent, TrainingRecall
from rotelab.training.null_space import NullSpaceProjector
from rotelab.training.objective import WHOLE, Objective, Weights
from rotelab.training.optimizer import make_scheduler
from rotelab.training.sampler import Step, StepSampler
from rotelab.training.state import TrainState

CLIP = 1.0
"""Largest norm of a step's gradient."""


class Loop:
    """Trains what takes gradients in a model.

    Args:
        model: switched to the checkpoint that is trained, with `train=True`.
        accelerator: device, precision and processes.
        sampler: the steps of each epoch.
        optimizer: over the model's trainable parameters, at its full learning rates.
        objective: computes a step's loss.
        phase: `memorize` or `generalize`, for events and state.
        epochs: of each adapter.
        averaged: how many adapters are trained one after the other and averaged.
        projector: keeps the adapter out of some directions after every step; None for none.
    """

    def __init__(
        self,
        model: LabModel,
        accelerator: Accelerator,
        sampler: StepSampler,
        optimizer: torch.optim.Optimizer,
        objective: Objective,
        *,
        phase: str,
        epochs: int,
        averaged: int = 1,
        projector: NullSpaceProjector | None = None,
    ):
        self.model, self.accelerator, self.sampler = model, accelerator, sampler
        self.optimizer, self.objective, self.projector = optimizer, objective, projector
        self.phase, self.epochs_each, self.averaged = phase, epochs, averaged
        self.epochs = epochs * averaged
        self.parameters = model.trainable()

    def run(self, resume: TrainState | None = None) -> Iterator[StepEvent | EpochEvent]:
        """Trains to the end.

        Args:
            resume: continue after this state; the numbers are those of a run without a break.

        Yields:
            A `StepEvent` after each step and an `EpochEvent` after each epoch.
        """
        forward_pass, optimizer = self.accelerator.prepare(
            self.model.forward_pass(), self.optimizer
        )
        state = resume or TrainState(self.phase)
        average = AdapterAverage(self.parameters, self.optimizer, self.averaged)
        if resume:
            self._restore(resume)
            average.restore(resume.tensors, (resume.epoch - 1) // self.epochs_each)
        step, per_epoch = state.step, len(self.sampler(1))
        scheduler = make_scheduler(self.optimizer, per_epoch * self.epochs_each, step)
        epochs = range(state.epoch + 1, 1 + (state.epoch if state.done else self.epochs))
        parts = (self._share(work, 0)[0] for epoch in epochs for work in self.sampler(epoch))
        self.objective.prepare(parts)
        for epoch in epochs:
            if average.several and epoch > 1 and (epoch - 1) % self.epochs_each == 0:
                average.start_next()
            recall: dict[int, TrainingRecall] = {}
            for work in self.sampler(epoch):
                # ---- one step -------------------------------------------------------------
                started = time.perf_counter()
                step += 1
                (rate, *_) = scheduler.get_last_lr()
                loss = self.objective(forward_pass, *self._share(work, step))
                self.accelerator.backward(loss.total)
                self.accelerator.clip_grad_norm_(self.parameters.values(), CLIP)
                optimizer.step()
                scheduler.step()
                if self.projector:
                    self.projector.project()
                optimizer.zero_grad(set_to_none=True)
                recall |= loss.recall
                value = self._of_all(loss.total.detach())
                # ---------------------------------------------------------------------------
                seconds, steps = time.perf_counter() - started, self.epochs * per_epoch
                yield StepEvent(
                    self.phase, epoch, step, steps, value, loss.parts, rate, loss.tokens, seconds
                )
            if self.accelerator.num_processes > 1:
                recall = dict(gather_object(list(recall.items())))
            known = [fact.recalled for fact in recall.values()]
            yield EpochEvent(
                self.phase,
                epoch,
                self.epochs,
                step,
                sum(known) / len(known) if known else math.nan,
                recall,
                lambda epoch=epoch, step=step: self._state(epoch, step, average),
                epoch == self.epochs,
            )
        average.keep()

    def _share(self, work: Step, number: int) -> tuple[Step, int, Weights]:
        """This process's part of a step if several train together, and what it counts for."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        if world == 1:
            return work, number, WHOLE
        part = Step(work.examples[rank::world], work.locality[rank::world])
        weights = Weights.of(part, work, world)
        # A process without an example reads one for nothing: all must take part in every step.
        return Step(part.examples or work.examples[:1], part.locality), number, weights

    def _of_all(self, loss: torch.Tensor) -> float:
        """A step's loss, from the parts of all processes."""
        if self.accelerator.num_processes > 1:
            loss = self.accelerator.reduce(loss, "mean")
        return float(loss)

    def _state(self, epoch: int, step: int, average: AdapterAverage) -> TrainState:
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in self.parameters.items():
            tensors[name] = parameter.detach().cpu().clone()
            for moment, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{moment}:{name}"] = torch.as_tensor(value).detach().cpu().clone()
        return TrainState(self.phase, epoch, step, tensors | average.tensors())

    @torch.no_grad()
    def _restore(self, state: TrainState) -> None:
        # A fused optimizer counts its steps on the device, any other on the CPU.
        fused = self.optimizer.defaults["fused"]
        for name, parameter in self.parameters.items():
            parameter.copy_(state.tensors[name])
            self.optimizer.state[parameter] = {
                moment: state.tensors[f"{moment}:{name}"]
                .to(parameter.device if fused or moment != "step" else "cpu")
                .clone()
                for moment in ("step", "exp_avg", "exp_avg_sq")
            }
