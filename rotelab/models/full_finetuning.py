"""Full fine-tuning: each phase trains its own copy of the model's weights instead of an adapter.

The paper trains like this (sections 3.1 and 3.2). A checkpoint is then a set of full weights, and
switching checkpoints swaps the tensors that the parameters hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from rotelab.config.names import CHECKPOINTS, MEMORIZE, Checkpoint, active_adapters
from rotelab.errors import LabError, ModelUnavailable
from rotelab.models.lab_model import AdapterShape, LabModel


class FullModel(LabModel):
    """A model whose two phases are two sets of full weights.

    Phase 2 starts from the weights of phase 1. All sets stay in memory so that chat can switch
    checkpoints instantly: that takes three times the model's memory, four times while it trains.
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
        return tuple(
            c for c in CHECKPOINTS if all(name in self._phases for name in active_adapters(c))
        )

    def attach(self, adapter: str, shape: AdapterShape) -> None:
        """Makes a phase's own copy of the weights that it trains; see `LabModel.attach`.

        All projections in all layers mean every weight of the model, embedding and norms included.
        With fewer, the embedding stays frozen except for the key tokens' rows, which `memorize`
        trains.

        Raises:
            ModelUnavailable: the model has none of these projections.
        """
        group = shape.projections or "all"
        assert isinstance(group, str), "weights are attached by name with `attach_weights`"
        whole = shape.layers is None and group == "all"
        chosen = {
            one.name
            for one in self.layout.of(group)
            if shape.layers is None or one.layer in shape.layers
        }
        names = [
            name
            for name, _ in self.network.named_parameters()
            if whole or name.rpartition(".")[0] in chosen
        ]
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
        self.detach(adapter)
        below = [MEMORIZE] if MEMORIZE in self._phases else []
        for name in names:
            self._base.setdefault(name, own[name].data)
        self._phases[adapter] = {name: self._value(name, below).clone() for name in names}
        self.use("base")

    def detach(self, adapter: str) -> None:
        """Drops a phase's weights; without phase 1, phase 2 is nothing either."""
        self.use("base")
        self._phases.pop(adapter, None)
        if adapter == MEMORIZE:
            self._phases.clear()  # phase 2 was a change to the phase 1 that is replaced

    def tensors(self, adapter: str) -> dict[str, torch.Tensor]:
        """The weights of a phase by name, as they are now."""
        return dict(self._phases[adapter])

    def changed(self, adapter: str) -> Iterator[tuple[str, float, float]]:
        """How much a phase changed each weight that it trained; see `LabModel.changed`."""
        below = [] if adapter == MEMORIZE else [MEMORIZE]
        for name, tensor in self._phases[adapter].items():
            change = (tensor.detach() - self._value(name, below).detach()).float().norm()
            base = self._base[name].detach().float().norm()
            yield name.removesuffix(".weight"), float(change), float(base)

    def strengthen(self, adapter: str, factor: float) -> None:
        """Multiplies a phase's change to the weights below it by `factor`."""
        below = [] if adapter == MEMORIZE else [MEMORIZE]
        for name, tensor in self._phases[adapter].items():
            start = self._value(name, below)
            tensor.copy_(start + factor * (tensor - start))

    def use(self, checkpoint: Checkpoint, train: bool = False) -> None:
        """Switches to a checkpoint; with `train`, the weights of its last phase take gradients.

        Raises:
            ModelUnavailable: that checkpoint has not been trained or loaded.
        """
        if checkpoint not in self.has:
            raise ModelUnavailable(f"This run has no {checkpoint!r} checkpoint yet.")
        self.checkpoint = checkpoint
        active = active_adapters(checkpoint)
        trained = self._phases[active[-1]] if train and active else {}
        for name, parameter in self.network.named_parameters():
            if name in self._base:
                parameter.data = self._value(name, active)
            parameter.requires_grad_(name in trained)
            parameter.grad = None
        self.network.train(train)

    @contextmanager
    def switched(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Swaps in the base model's weights for the length of a block if `checkpoint` is `base`.

        This leaves the autograd graph of an earlier pass intact as long as the weights are swapped
        back before `backward`: the graph refers to the parameter, not to the tensor in it.
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
        """The bare network with a checkpoint's weights."""
        self.use(checkpoint)
        return self.network

    def _value(self, name: str, active: Sequence[str]) -> torch.Tensor:
        """A weight with these phases on: from the last one that trained it, else the base's."""
        for adapter in reversed(active):
            if name in self._phases[adapter]:
                return self._phases[adapter][name]
        return self._base[name]

    def _embedding_name(self) -> str:
        table = self.network.get_input_embeddings().weight
        return next(name for name, p in self.network.named_parameters() if p is table)

    def _train_key_rows_alone(self, alone: bool) -> None:
        """Restricts the embedding's gradient to the key tokens' rows, or lifts that."""
        if self._key_rows is not None:
            self._key_rows.remove()
            self._key_rows = None
        if alone:
            table = self.network.get_input_embeddings().weight
            mask = torch.zeros(table.shape[0], 1, dtype=table.dtype, device=table.device)
            mask[[self.builder.key_id(relation) for relation in self.relations]] = 1
            before = table.requires_grad
            table.requires_grad_(True)  # torch refuses a hook otherwise
            self._key_rows = table.register_hook(lambda gradient: gradient * mask)
            table.requires_grad_(before)
