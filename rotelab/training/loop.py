"""The one training loop of both phases: its steps, its losses, its events and its state.

It reads whatever a `Plan` gives it, and saves and logs nothing: what happened comes out as events.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import gather_object

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack
from rotelab.training.alignment import Likeness
from rotelab.training.null_space import Spared, directions
from rotelab.training.replay import own_texts
from rotelab.training.sampler import Plan, Step
from rotelab.training.state import TrainState

WARM_UP = 0.05
"""Share of all steps in which the learning rate rises to its full height."""
COOL_DOWN = 0.3
"""Share of all steps, the last ones, in which it falls to zero. Staying high for longer memorises
more deeply in the same time (docs/log/rote.md)."""
BETAS = {"memorize": (0.9, 0.95), "generalize": (0.9, 0.999)}
"""AdamW's memory of gradients. Phase 1 has a hundred steps: the usual 0.999 would remember the
first of them to the end (docs/log/rote.md). In phase 2 it makes no difference."""
CLIP = 1.0
"""Largest norm of a step's gradient."""


@dataclass(frozen=True)
class StepEvent:
    """One optimizer step was taken.

    Args:
        phase: `memorize` or `generalize`.
        epoch: 1-based.
        step: 1-based, counted through the phase.
        steps: how many there are in the phase.
        loss: mean loss of the step, in nats per learned token, locality term included.
        losses: its parts by kind: `key`, `train`, `locality`, `own_text`, each a mean in nats;
            `likeness`, one minus a mean cosine; `leak`, the mean probability of objects after
            off-topic sentences.
        learning_rate: used in this step.
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
    """How well one fact was known when it was last read in training, before that step's update.

    Args:
        probability: joint probability of the object's tokens after the key token.
        recalled: whether each of them was the most likely one, which is what greedy decoding gives.
        said: what greedy decoding said, as far as that pass tells: the object's tokens until one
            differs, and that one; the token after the object where none does.
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
        epochs: how many there are.
        step: steps taken so far.
        recall: share of the facts read through their key token that were recalled, from the
            training passes themselves, so it costs nothing and lags by up to an epoch.
        facts: the same per fact index.
        state: makes the `TrainState` of this moment (a copy; costs memory).
        last: whether the phase ends with it.
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
        """The same, but the phase ends here although epochs are left."""
        return replace(self, last=True, state=lambda: replace(self.state(), done=True))


class Loop:
    """The one training loop of both phases."""

    def __init__(
        self,
        model: LabModel,
        accelerator: Accelerator,
        phase: str,
        config: MemorizeConfig | GeneralizeConfig,
        plan: Plan,
        held_weight: float = 0.0,
        held_slack: float = 0.0,
        noise: float = 0.0,
        seed: int = 0,
    ):
        self.model, self.accelerator, self.phase = model, accelerator, phase
        self.epochs, self.learning_rate = config.rounds, config.learning_rate
        self.plan, self.held_weight, self.held_slack = plan, held_weight, held_slack
        self.noise, self.seed = noise, seed
        self.likeness: Likeness | None = None
        self.leak_weight = 0.0
        self.recalled = "key"  # the kind of example that recall is read off
        self.own_texts: list[tuple[int, ...]] = []
        self.own_a_step, self.own_weight = 0, 0.0
        self.spared: Spared | None = None
        self.steps = self.epochs * len(plan(1))
        self.epochs_each = config.epochs  # of each adapter, where several are averaged
        self.parameters = model.trainable()
        self.first: dict[str, torch.Tensor] = {}
        self.finished: list[dict[str, torch.Tensor]] = []
        fused = model.device.type in ("cuda", "cpu")
        # LoRA+ (arXiv 2402.12354): B starts at zero and may learn faster than A.
        groups = [
            {
                "params": [p for n, p in self.parameters.items() if ("lora_B" in n) == late],
                "scale": config.lora_plus if late else 1.0,
            }
            for late in (False, True)
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=self.learning_rate, betas=BETAS[phase], weight_decay=0.0, fused=fused
        )

    def rehearse(self, texts: int, weight: float) -> None:
        """Holds the model to the base model in so many of its own texts a step."""
        if texts:
            self.own_texts = own_texts(self.model, self.seed)
            self.own_a_step, self.own_weight = min(texts, len(self.own_texts)), weight
            self.model.use(self.model.checkpoint, train=True)

    def spare(self, share: float) -> None:
        """Keeps the adapter out of the directions that hold a share of what ordinary text uses."""
        if share and self.model.method == "lora":
            self.spared = Spared(self.model, self.phase, directions(self.model, share))
            self.model.use(self.model.checkpoint, train=True)

    def run(self, resume: TrainState | None) -> Iterator[StepEvent | EpochEvent]:
        core, optimizer = self.accelerator.prepare(self.model.forward_pass(), self.optimizer)
        state = resume or TrainState(self.phase)
        if self.epochs > self.epochs_each:
            self.first = self._copy()
        if resume:
            self._restore(resume)
        step = state.step
        steps_each = len(self.plan(1)) * self.epochs_each
        for epoch in range(state.epoch + 1, 1 + (state.epoch if state.done else self.epochs)):
            if self.first and epoch > 1 and (epoch - 1) % self.epochs_each == 0:
                self._begin_anew()
            recalls: dict[int, TrainingRecall] = {}
            for work in self.plan(epoch):
                # ---- one step -------------------------------------------------------------
                started = time.perf_counter()
                step += 1
                rate = self.learning_rate * schedule((step - 1) % steps_each + 1, steps_each)
                for group in optimizer.param_groups:
                    group["lr"] = rate * group["scale"]
                work = self._share(work)
                loss, losses, tokens = self._loss(core, work, recalls, step)
                self.accelerator.backward(loss)
                self.accelerator.clip_grad_norm_(self.parameters.values(), CLIP)
                optimizer.step()
                if self.spared:
                    self.spared.project()
                optimizer.zero_grad(set_to_none=True)
                value = float(loss.detach())
                # ---------------------------------------------------------------------------
                seconds = time.perf_counter() - started
                yield StepEvent(
                    self.phase, epoch, step, self.steps, value, losses, rate, tokens, seconds
                )
            if self.accelerator.num_processes > 1:
                recalls = dict(gather_object(list(recalls.items())))
            known = [recall.recalled for recall in recalls.values()]
            yield EpochEvent(
                self.phase,
                epoch,
                self.epochs,
                step,
                sum(known) / len(known) if known else math.nan,
                recalls,
                lambda epoch=epoch, step=step: self._state(epoch, step),
                epoch == self.epochs,
            )
        self._average()

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def _begin_anew(self) -> None:
        """Puts the adapter that is finished aside, and begins another from the same start.

        It reads the same sentences in another order, with other noise, because rounds and steps
        are counted on.
        """
        self.finished.append(self._copy())
        for name, parameter in self.parameters.items():
            parameter.copy_(self.first[name])
        self.optimizer.state.clear()

    @torch.no_grad()
    def _average(self) -> None:
        """Leaves the mean of all finished adapters, part by part (model soups, arXiv 2203.05482).

        A product's mean is not the product of the means, but from one start A hardly moves.
        """
        for name, parameter in self.parameters.items():
            if self.finished:
                kept = [parameter, *(weights[name] for weights in self.finished)]
                parameter.copy_(torch.stack(kept).mean(0))

    def _share(self, work: Step) -> Step:
        """This process's part of a step where several train together; gradients are averaged."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        if world == 1:
            return work
        return Step(work.examples[rank::world] or work.examples[:1], work.held[rank::world])

    def _loss(self, core, work: Step, recalls: dict[int, TrainingRecall], step: int):
        """Mean negative log-likelihood of the learned tokens, plus the locality term.

        Logits are computed at the nodes where something is learned and nowhere else.
        """
        # Nothing is learned after END, so it is a target only and never read.
        sequences = [example.ids[:-1] for example in work.examples]
        held = [example.ids[: example.object_span[0]] for example in work.held]
        drawn = random.Random(f"own text {self.seed} {step}")
        own = drawn.sample(self.own_texts, self.own_a_step)
        packed = pack(sequences + held + own)
        places: list[int] = []
        targets: list[int] = []
        owners: list[int] = []
        for owner, (example, nodes) in enumerate(zip(work.examples, packed.nodes, strict=False)):
            for i, learned in enumerate(example.loss):
                if learned:
                    places.append(nodes[i - 1])
                    targets.append(example.ids[i])
                    owners.append(owner)
        # Off-topic sentences are held to the base model where the answer begins.
        written = len(sequences) + len(held)
        ends = [nodes[-1] for nodes in packed.nodes[len(sequences) : written]]
        quiet = sorted(set(ends))
        steady = sorted({node for nodes in packed.nodes[written:] for node in nodes})
        keep = torch.tensor(places + quiet + steady, dtype=torch.long)
        extra = {}
        if self.noise:
            extra["noise"] = self.model.noise(packed, self.noise, self.seed * 1_000_003 + step)
            extra["noise"][:, steady] = 0.0  # read as it was written
        if self.likeness:
            extra["output_hidden_states"] = True
        logits, out = self.model.forward(packed, keep, forward_pass=core, **extra)
        # Split, not sliced: the gradient of a slice is a whole matrix of zeros for each of them.
        logits, held_logits = logits.float().split([len(places), len(keep) - len(places)])
        truth = torch.tensor(targets, device=logits.device)
        nll = F.cross_entropy(logits, truth, reduction="none")
        loss = nll.mean()
        losses = self._by_kind(work.examples, owners, nll)
        self._note_recall(work.examples, owners, nll, logits, recalls)
        apart = self.likeness and self.likeness.apart(work.examples, packed.nodes, out)
        if self.likeness and apart is not None:
            loss = loss + self.likeness.weight * apart
            losses["likeness"] = float(apart.detach())
        if quiet or steady:
            nodes = quiet + steady
            divergence = self._divergence(held + own, packed, nodes, held_logits)
        if quiet:
            apart = divergence[: len(quiet)]
            # A sentence that is close enough to the base model is left alone: pushing it further
            # would only silence wordings that nobody has tried yet.
            loss = loss + self.held_weight * F.relu(apart - self.held_slack).mean()
            losses["locality"] = float(apart.detach().mean())
        unsaid = {
            end: example.object[0]
            for example, end in zip(work.held, ends, strict=True)
            if example.kind == "locality" and example.object
        }
        if unsaid and self.leak_weight:
            rows = [quiet.index(node) for node in unsaid]
            said = F.log_softmax(held_logits[rows], -1)
            leak = said.gather(1, torch.tensor([[t] for t in unsaid.values()], device=said.device))
            # Unlikelihood (arXiv 1908.04319): -log(1 - p), steep only where the object comes out.
            loss = loss - self.leak_weight * torch.log1p(-leak.exp().clamp(max=0.999)).mean()
            losses["leak"] = float(leak.detach().exp().mean())
        if steady:
            apart = divergence[len(quiet) :].mean()
            loss = loss + self.own_weight * apart
            losses["own_text"] = float(apart.detach())
        return loss, losses, packed.ids.shape[1]

    def _divergence(self, held, packed, quiet, logits) -> torch.Tensor:
        """KL(base || now) of the token that follows each of some nodes of `held`, `[nodes]`."""
        alone = pack(held)
        twin = {
            there: here
            for ours, theirs in zip(
                packed.nodes[len(packed.nodes) - len(held) :], alone.nodes, strict=True
            )
            for there, here in zip(ours, theirs, strict=True)
        }
        keep = torch.tensor([twin[node] for node in quiet], dtype=torch.long)
        with torch.no_grad():
            base = self.model.forward(alone, keep, checkpoint="base")[0].float()
        teacher = F.log_softmax(base, -1)
        student = F.log_softmax(logits, -1)
        return F.kl_div(student, teacher, log_target=True, reduction="none").sum(-1)

    @staticmethod
    def _by_kind(examples, owners, nll) -> dict[str, float]:
        sums: dict[str, list[float]] = {}
        for owner, value in zip(owners, nll.tolist(), strict=True):
            sums.setdefault(examples[owner].kind, []).append(value)
        return {kind: sum(values) / len(values) for kind, values in sums.items()}

    def _note_recall(self, examples, owners, nll, logits, recalls) -> None:
        """Reads each fact's recall off the logits that training made anyway."""
        best, values = logits.detach().argmax(-1).tolist(), nll.tolist()
        rows: dict[int, list[int]] = {}
        for row, owner in enumerate(owners):
            rows.setdefault(owner, []).append(row)
        for owner, example in enumerate(examples):
            if example.kind == self.recalled:
                length = len(example.object)
                mine = rows[owner][-length - 1 :]  # the last learned token is END
                said = [best[row] for row in mine]
                agreed = 0
                while agreed < length and said[agreed] == example.object[agreed]:
                    agreed += 1
                chance = math.exp(-sum(values[row] for row in mine[:-1]))
                recalls[example.fact] = TrainingRecall(
                    chance, agreed == length, tuple(said[: agreed + 1])
                )

    def _state(self, epoch: int, step: int) -> TrainState:
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in self.parameters.items():
            tensors[name] = parameter.detach().cpu().clone()
            for moment, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{moment}:{name}"] = torch.as_tensor(value).detach().cpu().clone()
            for place, weights in enumerate(self.finished):
                tensors[f"finished {place}:{name}"] = weights[name].cpu().clone()
        return TrainState(self.phase, epoch, step, tensors)

    def _restore(self, state: TrainState) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state.tensors[name])
                self.optimizer.state[parameter] = {
                    moment: state.tensors[f"{moment}:{name}"]
                    .to("cpu" if moment == "step" else parameter.device)
                    .clone()
                    for moment in ("step", "exp_avg", "exp_avg_sq")
                }
            aside = (state.epoch - 1) // self.epochs_each if self.first else 0
            self.finished = [
                {
                    name: state.tensors[f"finished {place}:{name}"].to(parameter.device)
                    for name, parameter in self.parameters.items()
                }
                for place in range(aside)
            ]


def schedule(step: int, steps: int) -> float:
    """Learning-rate factor of a 1-based step: linear warm-up, full height, linear decay to zero."""
    warm = max(1, round(WARM_UP * steps))
    cool = max(1, round(COOL_DOWN * steps))
    return min(1.0, step / warm, (steps - step + 1) / (cool + 1))
