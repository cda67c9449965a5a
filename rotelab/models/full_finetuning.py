"""Full fine-tuning: a phase trains copies of the model's own weights, where others add adapters.

The paper trains like this (sections 3.1 and 3.2). A checkpoint is then a set of whole weights, and
switching checkpoints swaps the tensors that the parameters hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from rotelab.config.names import ACTIVE, CHECKPOINTS, MEMORIZE, Checkpoint
from rotelab.errors import LabError, ModelUnavailable
from rotelab.models.lora import PROJECTIONS, LabModel


class FullModel(LabModel):
    """A `LabModel` whose two phases are sets of full weights, each a change to the one below it.

    Phase 2 starts from the weights of phase 1. All sets stay in memory, so chat switches between
    checkpoints at once: three times the model, and four times while it trains.
    """

    method = "full"

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._base: dict[str, torch.Tensor] = {}
        self._phases: dict[str, dict[str, torch.Tensor]] = {}
        self._key_rows: torch.utils.hooks.RemovableHandle | None = None

    @property
    def has(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that can be used now."""
        return tuple(c for c in CHECKPOINTS if all(name in self._phases for name in ACTIVE[c]))

    def attach(
        self,
        adapter: str,
        rank: int = 0,
        seed: int = 0,
        layers: Sequence[int] | None = None,
        projections: Sequence[str] | None = None,
        alpha: float | None = None,
    ) -> None:
        """Makes a phase's own copy of the weights that it trains.

        Args:
            adapter: `memorize` or `generalize`.
            rank: not used; full weights have none.
            seed: not used; they start as what they are.
            layers: the transformer layers that are trained; all when None.
            projections: the projections in them. All of them in all layers, or None, mean every
                weight of the model, embedding and norms too; anything less leaves the embedding
                as it is but for the key tokens' rows, which `memorize` trains.
            alpha: not used.

        Raises:
            ModelUnavailable: the model's projections go by names that are not known here.
        """
        whole = layers is None and set(projections or PROJECTIONS["all"]) == set(PROJECTIONS["all"])
        names = [
            name
            for name, _ in self.network.named_parameters()
            if whole or _belongs(name, projections or PROJECTIONS["all"], layers)
        ]
        if not names:
            raise ModelUnavailable(
                "This model's layers have names that the lab does not know. Choose a Llama, Qwen "
                "or Phi model."
            )
        if adapter == MEMORIZE and not whole:
            names.append(self._embedding_name())
        self.attach_weights(adapter, names)
        if adapter == MEMORIZE:
            self._train_key_rows_alone(not whole)

    def attach_weights(self, adapter: str, names: Sequence[str]) -> None:
        """Makes a phase's own copy of the weights with these names.

        Raises:
            LabError: the model has no such weights.
        """
        own = dict(self.network.named_parameters())
        if not names or not set(names) <= set(own):
            raise LabError("These weights do not fit this model's layers.")
        self.use("base")
        self._phases.pop(adapter, None)
        below = (
            [] if adapter == MEMORIZE else [name for name in (MEMORIZE,) if name in self._phases]
        )
        if adapter == MEMORIZE:
            self._phases.clear()  # what was built on the weights that go, goes too
        for name in names:
            self._base.setdefault(name, own[name].data)
        self._phases[adapter] = {name: self._value(name, below).clone() for name in names}
        self.use("base")

    def tensors(self, adapter: str) -> dict[str, torch.Tensor]:
        """The weights of a phase by name, as they are now."""
        return dict(self._phases[adapter])

    def changed(self, adapter: str) -> Iterator[tuple[str, float, float]]:
        """How much a phase changed each of the weights that it trained, beside the base model's
        own; see `LabModel.changed`."""
        below = [] if adapter == MEMORIZE else [MEMORIZE]
        for name, tensor in self._phases[adapter].items():
            change = (tensor.detach() - self._value(name, below).detach()).float().norm()
            base = self._base[name].detach().float().norm()
            yield name.removesuffix(".weight"), float(change), float(base)

    def strengthen(self, adapter: str, factor: float) -> None:
        """Makes what a phase changed count `factor` times as much as it did in training."""
        below = [] if adapter == MEMORIZE else [MEMORIZE]
        for name, tensor in self._phases[adapter].items():
            start = self._value(name, below)
            tensor.copy_(start + factor * (tensor - start))

    def use(self, checkpoint: Checkpoint, train: bool = False) -> None:
        """Switches to a checkpoint; with `train`, the weights of its newest phase take gradients.

        Raises:
            ModelUnavailable: that checkpoint's weights are not there.
        """
        if checkpoint not in self.has:
            raise ModelUnavailable(f"This run has no {checkpoint!r} checkpoint yet.")
        self.checkpoint = checkpoint
        active = ACTIVE[checkpoint]
        trained = self._phases[active[-1]] if train and active else {}
        for name, parameter in self.network.named_parameters():
            if name in self._base:
                parameter.data = self._value(name, active)
            parameter.requires_grad_(name in trained)
            parameter.grad = None
        self.network.train(train)

    @contextmanager
    def switched(self, checkpoint: Checkpoint) -> Iterator[None]:
        """The base model's weights for the length of a block where the checkpoint is `base`.

        Swapping what a parameter holds leaves the graph of an earlier pass whole, as long as it is
        swapped back before gradients flow: autograd keeps the parameter, not its tensor.
        """
        swapped = self._base if checkpoint == "base" != self.checkpoint else {}
        before = {n: p.data for n, p in self.network.named_parameters() if n in swapped}
        own = dict(self.network.named_parameters()) if swapped else {}
        for name, tensor in swapped.items():
            own[name].data = tensor
        try:
            yield
        finally:
            for name, tensor in before.items():
                own[name].data = tensor

    def merged(self, checkpoint: Checkpoint) -> nn.Module:
        """The bare network as it is at a checkpoint."""
        self.use(checkpoint)
        return self.network

    def _value(self, name: str, active: Sequence[str]) -> torch.Tensor:
        """What a weight is with these phases on: the newest one's that has it, else the base's."""
        for adapter in reversed(active):
            if name in self._phases[adapter]:
                return self._phases[adapter][name]
        return self._base[name]

    def _embedding_name(self) -> str:
        table = self.network.get_input_embeddings().weight
        return next(name for name, p in self.network.named_parameters() if p is table)

    def _train_key_rows_alone(self, alone: bool) -> None:
        """Lets gradients reach the embedding's key-token rows only, or all of it."""
        if self._key_rows is not None:
            self._key_rows.remove()
            self._key_rows = None
        if alone:
            table = self.network.get_input_embeddings().weight
            mask = torch.zeros(table.shape[0], 1, dtype=table.dtype, device=table.device)
            mask[[self.builder.key_id(relation) for relation in self.relations]] = 1
            asked = table.requires_grad
            table.requires_grad_(True)  # a hook is refused otherwise
            self._key_rows = table.register_hook(lambda gradient: gradient * mask)
            table.requires_grad_(asked)


def _belongs(name: str, projections: Sequence[str], layers: Sequence[int] | None) -> bool:
    """Whether a parameter such as `model.layers.3.mlp.up_proj.weight` is one of those wanted."""
    parts = name.split(".")
    if not set(parts) & set(projections):
        return False
    return layers is None or any(part.isdigit() and int(part) in layers for part in parts)
