"""What ordinary text uses inside the model, so that learning by rote can keep out of it.

The inputs of a weight matrix lie mostly in a part of the directions that they could take. An
adapter that reads only the other directions changes next to nothing in ordinary text, and still has
room for facts: a subject's name and a key token are not ordinary text. The thought is AlphaEdit's
(Fang et al., arXiv 2410.02355), there for single edits in closed form; here every training step
ends with a projection of LoRA's A. “Ordinary” is what the base model writes of its own accord, so
no data set is needed, and it depends on nothing but the base model: it is kept on disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from rotelab.models.embedded import cache_dir
from rotelab.models.forward import bare
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack
from rotelab.training.replay import own_texts

TEXTS, LENGTH, SEED = 256, 32, 0
"""The texts that stand for ordinary ones: how many, of how many tokens, from which seed."""
AT_A_TIME = 32
KEPT = 0.9
"""At least the directions of this share are kept on disk; those of a smaller one come first."""
WIDEST = 4096
"""Wider inputs than this are not looked at: their directions would take minutes a layer to find."""

READS = {
    "gate_proj": "in", "up_proj": "in", "gate_up_proj": "in", "down_proj": "middle",
    "q_proj": "in", "k_proj": "in", "v_proj": "in", "qkv_proj": "in", "o_proj": "middle",
}  # fmt: skip
"""What each projection reads; those of one block that read the same have one basis."""

Directions = Mapping[str, torch.Tensor]
"""By what is read (`model.layers.3.mlp.in`): an orthonormal basis of the directions that are in
use, `[inputs, n]`."""

Tell = Callable[[float, str], None]

HELD = ":held"
"""Behind a basis's name: the share that its first, its first two, … directions hold, `[n]`."""

log = logging.getLogger(__name__)


def directions(model: LabModel, share: float, tell: Tell = lambda share, words: None) -> Directions:
    """The directions that hold a share of what the layers' matrices read in ordinary text.

    They are found from the uncentred second moment of the inputs, each scaled to length 1 so that
    no few large ones decide; the first token of each text is left out for the same reason.

    Args:
        model: in whatever checkpoint; the base model is looked at.
        share: of the inputs' squared length, 0 to 1. Nothing is spared at 0.
        tell: told the share done and what is being done; it takes about two minutes on two
            processor cores, once for each base model.

    Returns:
        A basis for whatever is read in each layer, as far as it is at most `WIDEST` wide.
    """
    if not share:
        return {}
    place = cache_dir() / "directions" / f"{_fingerprint(model)}.safetensors"
    found = _kept(place, share)
    if found is None:
        # Rounded before the first use too, so that a run does not depend on who found them.
        found = dict(_find(model, max(share, KEPT), tell))
        _keep(found, place)
    bases = {}
    for name in found:
        if not name.endswith(HELD):
            used = int((found[name + HELD] < share).sum()) + 1
            bases[name] = found[name][:, :used].to(model.device, torch.float32)
    return bases


def too_wide(model: LabModel) -> int:
    """The width of the widest inputs that are not looked at; 0 where all are."""
    widths = [module.in_features for _, module in _readers(model)]
    return max((width for width in widths if width > WIDEST), default=0)


class NullSpaceProjector:
    """Keeps an adapter out of some directions of its inputs; starts by projecting it once.

    Args:
        model: has the adapter.
        adapter: its name.
        bases: the directions. Matrices whose input is not among them are left alone.
    """

    def __init__(self, model: LabModel, adapter: str, bases: Directions):
        self.pairs = [
            (module.lora_A[adapter].weight, bases[read])
            for read, module in _readers(model)
            if read in bases and isinstance(module, LoraLayer) and adapter in module.lora_A
        ]
        self.project()

    @torch.no_grad()
    def project(self) -> None:
        """Removes from each A its part in those directions: `A - A Q Qᵀ`."""
        for a, basis in self.pairs:
            a.sub_((a @ basis) @ basis.T)


def _readers(model: LabModel) -> Iterator[tuple[str, nn.Module]]:
    for name, module in bare(model.network).named_modules():
        block, _, projection = name.rpartition(".")
        if projection in READS:
            yield f"{block}.{READS[projection]}", module


def _find(model: LabModel, share: float, tell: Tell) -> Iterator[tuple[str, torch.Tensor]]:
    words = "Looking what ordinary text uses inside this model, once"
    tell(0.0, words)
    texts = own_texts(model, SEED, TEXTS, LENGTH)
    moments = _moments(model, texts, lambda done: tell(0.4 + 0.2 * done, words))
    for place, (name, moment) in enumerate(moments.items()):
        values, vectors = torch.linalg.eigh(moment)
        held = values.flip(0).clamp(min=0).cumsum(0)
        held = held / held[-1]
        # The last direction never counts, so that there is always room to learn.
        used = min(int((held < share).sum()) + 1, len(values) - 1)
        yield name, vectors.flip(1)[:, :used].half().contiguous()
        yield name + HELD, held[:used].contiguous()
        tell(0.6 + 0.4 * (place + 1) / len(moments), words)


def _moments(model: LabModel, texts, tell: Callable[[float], None]) -> dict[str, torch.Tensor]:
    """Sums of `x xᵀ` over all tokens but the first of each text, `[inputs, inputs]`."""
    moments: dict[str, torch.Tensor] = {}
    inner: torch.Tensor

    def watch(read: str):
        def look(module, inputs):
            rows = F.normalize(inputs[0].flatten(0, -2)[inner].float(), dim=-1)
            # Autocast, where the pass is in bfloat16, would do the sums in it too.
            with torch.autocast(model.device.type, enabled=False):
                moments[read] = moments.get(read, 0) + rows.T @ rows

        return look

    firsts = dict(reversed([(r, m) for r, m in _readers(model) if m.in_features <= WIDEST]))
    hooks = [module.register_forward_pre_hook(watch(read)) for read, module in firsts.items()]
    try:
        with torch.no_grad():
            for start in range(0, len(texts), AT_A_TIME):
                packed = pack(texts[start : start + AT_A_TIME])
                inner = (packed.positions.flatten() > 0).to(model.device)
                model.forward(packed, torch.tensor([0]), checkpoint="base")
                tell(min(1.0, (start + AT_A_TIME) / len(texts)))
    finally:
        for hook in hooks:
            hook.remove()
    return moments


def _fingerprint(model: LabModel) -> str:
    """Tells base models apart by some of their weights, wherever they came from."""
    seen = hashlib.sha256(f"{TEXTS} {LENGTH} {SEED} {model.dtype}".encode())
    for read, module in _readers(model):
        layer = module.get_base_layer() if isinstance(module, LoraLayer) else module
        sample = layer.weight.detach().flatten()[:: max(1, layer.weight.numel() // 1024)]
        seen.update(read.encode() + sample.float().cpu().numpy().tobytes())
    return seen.hexdigest()[:16]


def _kept(place: Path, share: float) -> dict[str, torch.Tensor] | None:
    """What was found before; None where nothing was, too little, or where it can't be read."""
    try:
        found = load_file(place)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        log.warning("%s can't be read (%s) and is made anew.", place, error)
        return None
    # Where a basis leaves out but one direction, it is all that there is.
    whole = (
        held[-1] >= share or len(held) == len(found[name.removesuffix(HELD)]) - 1
        for name, held in found.items()
        if name.endswith(HELD)
    )  # fmt: skip
    return found if all(whole) else None


def _keep(found: dict[str, torch.Tensor], place: Path) -> None:
    half_done = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        save_file(found, half_done)
        half_done.replace(place)
    except (SafetensorError, OSError) as error:
        log.warning("%s can't be written (%s): the next run looks anew.", place, error)
        with contextlib.suppress(OSError):
            half_done.unlink()
