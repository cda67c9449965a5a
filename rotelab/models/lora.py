"""LoRA: each phase trains an adapter beside the frozen base model (PEFT)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from rotelab.config.names import (
    GENERALIZE,
    MEMORIZE,
    Checkpoint,
    active_adapters,
    checkpoints_with,
    lesson_number,
)
from rotelab.errors import ModelUnavailable
from rotelab.models.architecture.folded import folded
from rotelab.models.architecture.layout import matrix
from rotelab.models.forward import bare
from rotelab.models.lab_model import AdapterShape, LabModel
from rotelab.models.linear_algebra import norm_of_product


class LoraModel(LabModel):
    """A base model with the LoRA adapters `memorize` and `generalize`, and one for each lesson.

    `memorize` is on the MLPs and has the key tokens' embedding rows; `generalize` is on attention;
    lessons are on the MLPs.
    """

    method = "lora"

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._switches_of: tuple[tuple[str, ...], list[nn.Module]] = ((), [])

    @property
    def has(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that can be used now."""
        attached = getattr(self.network, "peft_config", {})
        known = checkpoints_with(sum(lesson_number(name) > 0 for name in attached))
        return tuple(c for c in known if all(name in attached for name in active_adapters(c)))

    def attach(self, adapter: str, shape: AdapterShape) -> None:
        """Adds an adapter with seeded weights; see `LabModel.attach`.

        Raises:
            ModelUnavailable: the model has none of these projections.
        """
        wanted = shape.projections or ("qkvo" if adapter == GENERALIZE else "mlp")
        targets = self.layout.targets(wanted) if isinstance(wanted, str) else list(wanted)
        config = LoraConfig(
            r=shape.rank,
            lora_alpha=2 * shape.rank if shape.alpha is None else shape.alpha,
            lora_dropout=0.0,
            target_modules=targets,
            fan_in_fan_out=self.layout.transposed,
            task_type=None,
        )
        if shape.layers is not None:
            config.layers_to_transform = list(shape.layers)
        if adapter == MEMORIZE:
            keys = [self.builder.key_id(relation) for relation in self.relations]
            config.trainable_token_indices = keys
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # PEFT 0.21 reads an attribute under the name that transformers 5 calls deprecated.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            torch.manual_seed(shape.seed)
            if adapter in getattr(self.network, "peft_config", {}):
                self.detach(adapter)
            if hasattr(self.network, "peft_config"):
                self.network.add_adapter(adapter, config)
            else:
                self.network = get_peft_model(self.network, config, adapter_name=adapter)
        if not getattr(bare(self.network), "is_quantized", False):
            self.network.to(self.device)
        self.use("base")

    def tensors(self, adapter: str) -> dict[str, torch.Tensor]:
        """An adapter's weights as they are now, by PEFT's names without the adapter's."""
        return {
            name.replace(f".{adapter}", ""): parameter
            for name, parameter in self.network.named_parameters()
            if f".{adapter}" in name
        }

    def changed(self, adapter: str) -> Iterator[tuple[str, float, float]]:
        """How much an adapter changes each matrix; see `LabModel.changed`.

        The change is `scale * B A`.
        """
        for name, module in self.network.named_modules():
            if isinstance(module, LoraLayer) and adapter in module.lora_A:
                b, a = module.lora_B[adapter].weight, module.lora_A[adapter].weight
                change = norm_of_product(b, a)
                own = matrix(module).float().norm()
                yield name, change * abs(module.scaling[adapter]), float(own)

    def scales(self, adapter: str) -> Iterator[float]:
        """LoRA's scale at each matrix; see `LabModel.scales`."""
        for module in self.network.modules():
            if isinstance(module, LoraLayer) and adapter in module.scaling:
                yield module.scaling[adapter]

    def strengthen(self, adapter: str, factor: float) -> None:
        """Multiplies LoRA's scale by `factor`."""
        self.network.peft_config[adapter].lora_alpha *= factor
        for module in self.network.modules():
            if isinstance(module, LoraLayer) and adapter in module.scaling:
                module.scaling[adapter] *= factor

    def detach(self, adapter: str) -> None:
        """Removes an adapter; see `LabModel.detach`.

        PEFT 0.21 can't delete the last one beside trained token rows, nor an active one while
        several others are active.
        """
        self.use("base")
        others = [name for name in self.network.peft_config if name != adapter]
        if others:
            self.network.base_model.set_adapter(others[:1])
            self.network.delete_adapter(adapter)
        else:
            self.network = self.network.unload()
        self._switches_of = ((), [])

    def use(self, checkpoint: Checkpoint, train: bool = False) -> None:
        """Switches to a checkpoint; with `train`, its newest adapter alone takes gradients.

        Raises:
            ModelUnavailable: the adapters of that checkpoint are not attached.
        """
        active = active_adapters(checkpoint)
        if any(name not in getattr(self.network, "peft_config", {}) for name in active):
            raise ModelUnavailable(f"This run has no {checkpoint!r} checkpoint yet.")
        self.checkpoint = checkpoint
        if active:
            self.network.base_model.set_adapter(active)
        # `set_adapter` turns gradients on for every adapter that it activates; we train only one.
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(train and bool(active) and f".{active[-1]}" in name)
        self.network.train(train)

    @contextmanager
    def switched(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Turns the adapters off for the length of a block if `checkpoint` is `base`.

        PEFT's own `disable_adapter()` turns gradients on for every active adapter when it ends,
        including the frozen one, and walks all modules twice. This only flips the switch itself.
        """
        switches = self._switches() if checkpoint == "base" else []
        before = [module._disable_adapters for module in switches]
        for module in switches:
            module._disable_adapters = True
        try:
            yield
        finally:
            for module, was in zip(switches, before, strict=True):
                module._disable_adapters = was

    def _switches(self) -> list[nn.Module]:
        """PEFT's layers that can be turned off, looked up once for each set of adapters."""
        adapters = tuple(getattr(self.network, "peft_config", ()))
        if self._switches_of[0] != adapters:
            kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
            found = [m for m in self.network.modules() if isinstance(m, kinds)]
            self._switches_of = (adapters, found)
        return self._switches_of[1]

    def folded(self, *frozen: str) -> AbstractContextManager[bool]:
        """See `LabModel.folded`, and `folded.folded` for where it is possible."""
        return folded(self.network, *frozen)

    def merged(self, checkpoint: Checkpoint) -> nn.Module:
        """The bare network with a checkpoint's adapters merged in; see `LabModel.merged`.

        PEFT 0.21's `merge_and_unload` raises `KeyError` if one adapter has trained token rows and
        another has none, so each layer merges the adapters that it has.
        """
        if not getattr(self.network, "peft_config", None):
            return self.network
        self.use(checkpoint)
        for layer in [m for m in self.network.modules() if isinstance(m, BaseTunerLayer)]:
            rows = isinstance(layer, TrainableTokensLayer)
            known = layer.trainable_tokens_delta if rows else layer.lora_A
            names = [name for name in active_adapters(checkpoint) if name in known]
            if names:
                layer.merge(adapter_names=names)
        return self.network.unload()
