"""Finds the parts of a causal language model by where they sit, not by what they are called.

A decoder layer has an attention block and an MLP block. The attention block is the one whose
forward takes a mask; every other linear map of the layer belongs to the MLP. What a map reads, and
so whether it leads into its block or out of it, is seen in one short pass. Fused maps (`c_attn`,
`query_key_value`, `gate_up_proj`) and transformers' `Conv1D`, whose weight is transposed, count as
any other does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from peft.tuners.lora import LoraLayer
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from peft.utils.integrations import dequantize_module_weight
from torch import nn
from transformers.pytorch_utils import Conv1D

from rotelab.errors import ModelUnavailable

MASKS = {"attention_mask", "past_key_values", "past_key_value", "layer_past"}
"""Arguments that only an attention block takes."""

EXPERTS = (
    "This model is a mixture of experts. A token passes through a few of its experts only, so they "
    "get no adapter, and it has no other MLP. Choose a model without experts, or let the phases "
    "train attention alone (--set memorize.projections=qkvo)."
)
NO_LAYERS = (
    "This model is not a stack of decoder layers with attention and an MLP, so there is nothing "
    "that the lab could train in it. Choose a model such as Llama, Qwen, Gemma, Pythia or GPT-2."
)
NARROW_WORDS = (
    "This model looks words up in {words} numbers and computes in {hidden}, with a map between the "
    "two (as OPT-350m does), and the lab can't look into such layers. Choose another size of it."
)
NONE_OF_GROUP = (
    "This model's layers have none of the parts that are to be trained ({group}). Choose other "
    "parts (memorize.projections, generalize.projections), or another model."
)


@dataclass(frozen=True)
class LinearMap:
    """A weight matrix of a decoder layer.

    Args:
        name: its full name, `model.layers.3.mlp.up_proj`.
        layer: its layer, from 0.
        block: `mlp` or `attention`.
        reads: the input that it reads, `model.layers.3.mlp.in`; maps that read the same tensor have
            the same one. `in` is what the block reads, anything else is computed in the block.
        groups: the groups of `config.phases.PROJECTION_CHOICES` that it belongs to.
    """

    name: str
    layer: int
    block: str
    reads: str
    groups: frozenset[str]


@dataclass(frozen=True)
class Layout:
    """The parts of a model.

    Args:
        maps: the linear maps of all decoder layers in the order of the network, without experts.
        layers: number of decoder layers.
        decoder: name of the module that holds the layers.
        tail: names of the modules between the last layer and the head: the final norm.
        hidden: width of the hidden states.
        experts: whether layers have experts, which are not among `maps`.
        transposed: whether the maps are `Conv1D`, whose weight is `[in, out]`.
        names: the names of all modules.
    """

    maps: tuple[LinearMap, ...]
    layers: int
    decoder: str
    tail: tuple[str, ...]
    hidden: int
    experts: bool
    transposed: bool
    names: tuple[str, ...] = field(repr=False)

    def of(self, group: str) -> list[LinearMap]:
        """The maps of a group: `mlp`, `gates`, `down`, `qkvo`, `vo`, `qk`, `all`.

        Raises:
            ModelUnavailable: the model has none.
        """
        found = [one for one in self.maps if group in one.groups]
        if not found:
            mlp = self.experts and group in ("mlp", "gates", "down")
            raise ModelUnavailable(EXPERTS if mlp else NONE_OF_GROUP.format(group=group))
        return found

    def layer_name(self, layer: int) -> str:
        """The name of a decoder layer's module, such as `model.layers.3`."""
        one = next(one for one in self.maps if one.layer == layer)
        inside = one.name.removeprefix(f"{self.decoder}.") if self.decoder else one.name
        return ".".join(filter(None, [self.decoder, *inside.split(".")[:2]]))

    def targets(self, group: str) -> list[str]:
        """The same as PEFT's `target_modules`.

        Raises:
            ModelUnavailable: the model has none.
        """
        return list(dict.fromkeys(self.short[one.name] for one in self.of(group)))

    @cached_property
    def short(self) -> dict[str, str]:
        """For each map the shortest end of its name that means maps of its kind alone.

        That is `up_proj` in a Llama. In GPT-2 both blocks have a `c_proj`: there it is
        `mlp.c_proj`.
        """
        kinds = {one.name: (one.block, one.groups) for one in self.maps}
        found = {}
        for one in self.maps:
            parts = one.name.split(".")
            for length in range(1, len(parts) + 1):
                end = ".".join(parts[-length:])
                same = {kinds.get(name) for name in self.names if f".{name}".endswith(f".{end}")}
                if len(same) == 1:
                    break
            found[one.name] = end
        return found


def find_layout(network: nn.Module, run: Callable[[], object]) -> Layout:
    """Finds a model's parts.

    Args:
        network: the bare causal language model, before any adapter.
        run: makes one short pass of it.

    Raises:
        ModelUnavailable: it has no decoder layers with linear maps, or its words are narrower than
            its layers.
    """
    words = network.get_input_embeddings().weight.shape[1]
    hidden = network.config.get_text_config().hidden_size
    if words != hidden:
        raise ModelUnavailable(NARROW_WORDS.format(words=words, hidden=hidden))
    path, layers = _decoder_layers(network)
    decoder = path.rpartition(".")[0]
    blocks = {f"{path}.{i}": _blocks(layer, network.config) for i, layer in enumerate(layers)}
    seen, tail = _trace(network, path, run)
    maps, experts = [], False
    for i, (prefix, attention) in enumerate(blocks.items()):
        layer = layers[i]
        routed = _expert_modules(layer)
        experts = experts or bool(routed)
        inputs: dict[str, list[tuple]] = {}
        for name, module in layer.named_modules():
            if not is_linear(module) or any(_inside(name, place) for place in routed):
                continue
            full = f"{prefix}.{name}"
            block = "attention" if any(_inside(name, place) for place in attention) else "mlp"
            if full not in seen:
                continue  # nothing passes through it
            order = inputs.setdefault(block, [])
            if seen[full] not in order:
                order.append(seen[full])
            place = order.index(seen[full])
            owner = full.rpartition(".")[0]
            reads = f"{owner}.{('in', 'middle')[place] if place < 2 else f'middle-{place}'}"
            maps.append(LinearMap(full, i, block, reads, _groups(block, place > 0, name)))
    if not maps:
        raise ModelUnavailable(NO_LAYERS)
    return Layout(
        tuple(maps),
        len(layers),
        decoder,
        tuple(tail),
        hidden,
        experts,
        any(isinstance(network.get_submodule(one.name), Conv1D) for one in maps),
        tuple(name for name, _ in network.named_modules()),
    )


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear map whose weight an adapter can change."""
    return isinstance(module, nn.Linear | Conv1D)


def base_layer(module: nn.Module) -> nn.Module:
    """A linear map without PEFT's layer around it."""
    return module.get_base_layer() if isinstance(module, LoraLayer) else module


def width_in(module: nn.Module) -> int:
    """How many inputs a linear map has."""
    base = base_layer(module)
    return base.weight.shape[0] if isinstance(base, Conv1D) else base.in_features


def matrix(module: nn.Module) -> torch.Tensor:
    """A linear map's own weight, `[out, in]`, unpacked where it is stored in 4 bits."""
    base = base_layer(module)
    weight = dequantize_module_weight(base).detach()
    return weight.T if isinstance(base, Conv1D) else weight


def _decoder_layers(network: nn.Module) -> tuple[str, nn.ModuleList]:
    """The list of decoder layers and its name: the list in which most linear maps are."""
    best: tuple[int, str, nn.ModuleList] | None = None
    wanted = getattr(network.config.get_text_config(), "num_hidden_layers", None)
    for name, module in network.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            count = sum(is_linear(part) for part in module.modules())
            if count and (best is None or count > best[0]):
                best = (count, name, module)
    if best is None:
        raise ModelUnavailable(NO_LAYERS)
    return best[1], best[2]


def _blocks(layer: nn.Module, config) -> list[str]:
    """Names of a layer's attention blocks.

    Where no block's forward tells, PEFT's own table does: it names the attention maps of many
    families.
    """
    found: list[str] = []
    for name, module in layer.named_modules():
        if name and not any(_inside(name, place) for place in found) and _takes_mask(module):
            found.append(name)
    known = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(config.model_type, ())
    if not found and isinstance(known, Collection) and not isinstance(known, str):
        maps = [name for name, module in layer.named_modules() if is_linear(module)]
        found = [name for name in maps if name.rpartition(".")[2] in known]
    return found


def _takes_mask(module: nn.Module) -> bool:
    if not any(is_linear(part) for part in module.modules()):
        return False
    return bool(MASKS & set(inspect.signature(module.forward).parameters))


def _expert_modules(layer: nn.Module) -> list[str]:
    """Names of a layer's modules that are experts, or choose among them.

    Experts are a list of modules, or one module with three-dimensional weights. What stands beside
    them in their block is the router, or an expert that every token passes through, which is an MLP
    of its own and no linear map.
    """
    found = []
    for name, module in layer.named_modules():
        stacked = [p for p in module.parameters(recurse=False) if p.ndim == 3]
        several = isinstance(module, nn.ModuleList) and len(module) > 1
        if not (name and (several or stacked)) or not _has_weights(module):
            continue
        found.append(name)
        block = layer.get_submodule(name.rpartition(".")[0])
        beside = [child for child, part in block.named_children() if is_linear(part)]
        found += [f"{name.rpartition('.')[0]}.{child}".lstrip(".") for child in beside]
    return found


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _inside(name: str, place: str) -> bool:
    return f"{name}.".startswith(f"{place}.")


def _trace(
    network: nn.Module, path: str, run: Callable[[], object]
) -> tuple[dict[str, tuple], list[str]]:
    """Watches one pass: which tensor each linear map reads, and what follows the last layer.

    Returns:
        For each map called in a layer a mark of its input, equal for the same tensor; and the names
        of the decoder's own modules that were called after the last layer.
    """
    seen: dict[str, tuple] = {}
    kept: list[torch.Tensor] = []  # so that no address is used twice
    after: list[str] = []
    decoder = path.rpartition(".")[0]
    last = f"{path}.{len(network.get_submodule(path)) - 1}"

    def reading(name: str):
        def hook(module, args, kwargs):
            given = args[0] if args else next(iter(kwargs.values()))
            kept.append(given)
            seen.setdefault(name, (given.data_ptr(), given.numel()))

        return hook

    def following(name: str):
        def hook(module, args, output):
            if name == last:
                after.clear()
            else:
                after.append(name)

        return hook

    hooks = []
    for name, module in network.named_modules():
        if is_linear(module) and _inside(name, path):
            hooks.append(module.register_forward_pre_hook(reading(name), with_kwargs=True))
    owner = network.get_submodule(decoder) if decoder else network
    head = network.get_output_embeddings()
    for name, module in [*owner.named_children(), (last, network.get_submodule(last))]:
        if module is not head and not isinstance(module, nn.ModuleList):
            full = last if name == last else f"{decoder}.{name}".lstrip(".")
            hooks.append(module.register_forward_hook(following(full)))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen, after


def _groups(block: str, inner: bool, name: str) -> frozenset[str]:
    """The groups of a map. `inner`: it reads what was computed in its block.

    q and k decide where attention looks, v and o what it moves. A fused map belongs to both.
    """
    if block == "mlp":
        return frozenset({"mlp", "all", "down" if inner else "gates"})
    leaf = name.rpartition(".")[2].lower().removeprefix("w").lstrip("_")
    begins = [one for one in ("q", "k", "v") if leaf.startswith(one)]
    fused = leaf.startswith(("qk", "kv", "query_key", "qv"))
    if begins and not fused:
        return frozenset({"qkvo", "all", "vo" if begins == ["v"] else "qk"})
    if inner:
        return frozenset({"qkvo", "all", "vo"})
    return frozenset({"qkvo", "all", "vo", "qk"})


def readers(
    network: nn.Module, layout: Layout, group: str = "all"
) -> Iterator[tuple[str, nn.Module]]:
    """Each linear map of a group, with the name of the input that it reads."""
    for one in layout.maps:
        if group in one.groups:
            yield one.reads, network.get_submodule(one.name)
