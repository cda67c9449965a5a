"""Null-space projection: keeps an adapter out of the directions that ordinary text uses.

The inputs of a weight matrix lie mostly in a subspace. An adapter that reads only the other
directions changes ordinary text very little and still has room for facts, because a subject's name
and a key token are not ordinary text. The idea is AlphaEdit's (Fang et al., arXiv 2410.02355),
which edits single facts in closed form; here every training step ends with a projection of LoRA's
A. Ordinary text is what the base model samples freely (`own_texts`), so no data set is needed. The
directions depend on the base model alone and are cached on disk.
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
from filelock import FileLock, Timeout
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rotelab.models.architecture.layout import base_layer, width_in
from rotelab.models.forward import bare
from rotelab.models.lab_model import LabModel
from rotelab.models.linear_algebra import eigh
from rotelab.models.packing import pack
from rotelab.storage import cache_dir, put_in_place

TEXTS, LENGTH, SEED = 256, 32, 0
"""The sample of ordinary text: number of texts, tokens of each, seed."""
BATCH = 32
CACHED_SHARE = 0.9
"""At least the directions of this share are cached; a smaller share uses the first of them."""
WAIT_S = 0.5
"""How often a process that waits for another's directions tells so, in seconds."""
WIDEST = 4096
"""Wider inputs are skipped: finding their directions would take minutes a layer."""

TOO_WIDE = (
    "Some layers of this model have {width} inputs. Above {widest}, the directions that ordinary "
    "text uses are not computed, because that would take minutes a layer, so those layers are not "
    "protected (no null-space projection). The damage figures show what training did to the rest."
)

Directions = Mapping[str, torch.Tensor]
"""For each input (`model.layers.3.mlp.in`, see `LinearMap.reads`) an orthonormal basis of the
directions that ordinary text uses, `[width, n]`."""

Progress = Callable[[float, str], None]
"""Called with the share done and a description of the current work."""

HELD = ":held"
"""Suffix of a basis's name: the share of the second moment in its first 1, 2, … directions, `[n]`.
"""

log = logging.getLogger(__name__)


def directions(
    model: LabModel, share: float, progress: Progress = lambda share, words: None
) -> Directions:
    """The directions that hold a share of the layers' inputs in ordinary text.

    They are the leading eigenvectors of the inputs' uncentred second moment. Each input is scaled
    to length 1 so that a few large ones do not dominate; the first token of each text, an attention
    sink, is left out for the same reason.

    Args:
        model: in any checkpoint; the base model is measured.
        share: of the inputs' squared length, 0 to 1; at 0 there are no directions.
        progress: called while they are found, which takes about two minutes on two processor
            cores, once for each base model.

    Returns:
        A basis for each input that is at most `WIDEST` wide.
    """
    if not share:
        return {}
    place = cached_at(model)
    found = _cached(place, share)
    if found is None:
        # Two processes that need the same ones would each take twice as long.
        with _one_at_a_time(place, progress):
            found = _cached(place, share)
            if found is None:
                # In half precision even before they were cached, so that a run gives the same
                # numbers whether it found them itself or not.
                found = dict(_find(model, max(share, CACHED_SHARE), progress))
                write_tensors(found, place)
    bases = {}
    for name in found:
        if not name.endswith(HELD):
            used = int((found[name + HELD] < share).sum()) + 1
            bases[name] = found[name][:, :used].to(model.device, torch.float32)
    return bases


def too_wide(model: LabModel) -> int:
    """The width of the widest input that is skipped; 0 if none is."""
    widths = [width_in(module) for _, module in model.projections()]
    return max((width for width in widths if width > WIDEST), default=0)


class NullSpaceProjector:
    """Keeps an adapter out of some directions of its inputs; starts by projecting it once.

    Args:
        model: has the adapter.
        adapter: its name.
        bases: the directions. Matrices whose input is not among them are left alone.
        rescale: give each A the length again that it had before its first projection: where few
            directions are left, it would begin with next to nothing.
    """

    def __init__(
        self,
        model: LabModel,
        adapter: str,
        bases: Directions,
        rescale: bool = False,
        precision: torch.dtype = torch.float32,
    ):
        self.pairs = [
            (module.lora_A[adapter].weight, bases[read])
            for read, module in model.projections()
            if read in bases and isinstance(module, LoraLayer) and adapter in module.lora_A
        ]
        before = [a.detach().norm() for a, _ in self.pairs]
        self.project()
        if rescale:
            with torch.no_grad():
                for (a, _), length in zip(self.pairs, before, strict=True):
                    a.mul_(length / a.norm().clamp(min=1e-9))
        lower = {id(basis): basis.to(precision) for _, basis in self.pairs}
        self.pairs = [(a, lower[id(basis)]) for a, basis in self.pairs]

    @torch.no_grad()
    def project(self) -> None:
        """Removes from each A its part in those directions: `A - A Q Qᵀ`."""
        for a, basis in self.pairs:
            a.sub_((a.to(basis.dtype) @ basis) @ basis.T)


def _find(model: LabModel, share: float, progress: Progress) -> Iterator[tuple[str, torch.Tensor]]:
    """The bases of a share, and the shares that their first directions hold (`HELD`)."""
    words = "Finding what ordinary text uses in this model (once)"
    progress(0.0, words)
    texts = own_texts(model, SEED, TEXTS, LENGTH)
    moments = _moments(model, texts, lambda done: progress(0.4 + 0.2 * done, words))
    for place, (name, moment) in enumerate(moments.items()):
        values, vectors = eigh(moment)
        held = values.flip(0).clamp(min=0).cumsum(0)
        held = held / held[-1]
        # The last direction is always left out, so that there is room to learn.
        used = min(int((held < share).sum()) + 1, len(values) - 1)
        yield name, vectors.flip(1)[:, :used].half().contiguous()
        yield name + HELD, held[:used].contiguous()
        progress(0.6 + 0.4 * (place + 1) / len(moments), words)


def _moments(model: LabModel, texts, progress: Callable[[float], None]) -> dict[str, torch.Tensor]:
    """Sums of `x xᵀ` over all tokens but the first of each text, `[width, width]` by input."""
    moments: dict[str, torch.Tensor] = {}
    inner: torch.Tensor

    def summing(read: str):
        def hook(module, inputs):
            rows = F.normalize(inputs[0].flatten(0, -2)[inner].float(), dim=-1)
            # Under autocast to bfloat16 the sums would be in bfloat16 too.
            with torch.autocast(model.device.type, enabled=False):
                moments[read] = moments.get(read, 0) + rows.T @ rows

        return hook

    every = [(read, m) for read, m in model.projections() if width_in(m) <= WIDEST]
    firsts = dict(reversed(every))
    hooks = [module.register_forward_pre_hook(summing(read)) for read, module in firsts.items()]
    try:
        with torch.no_grad():
            for start in range(0, len(texts), BATCH):
                packed = pack(texts[start : start + BATCH])
                inner = (packed.positions.flatten() > 0).to(model.device)
                model.forward(packed, torch.tensor([0]), checkpoint="base")
                progress(min(1.0, (start + BATCH) / len(texts)))
    finally:
        for hook in hooks:
            hook.remove()
    return moments


def cached_at(model: LabModel) -> Path:
    """The file that keeps a base model's directions, whether or not it exists yet."""
    return folder() / f"{fingerprint(model)}.safetensors"


def folder() -> Path:
    """The folder in which directions are cached, whether or not it exists yet."""
    return cache_dir() / "directions"


@contextlib.contextmanager
def _one_at_a_time(place: Path, progress: Progress) -> Iterator[None]:
    """Waits until no other process finds the directions of this file; tells `progress` often, so
    that a run that waits can be stopped. Where no lock can be made, nobody waits."""
    lock = FileLock(cache_dir() / "locks" / f"{place.stem}.lock")
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                lock.acquire(timeout=WAIT_S)
                break
            except Timeout:
                progress(0.0, "Another process finds what ordinary text uses in this model (once)")
    except OSError as error:
        log.warning("%s can't be locked (%s), so nobody is waited for.", place, error)
    try:
        yield
    finally:
        lock.release()


def fingerprint(model: LabModel) -> str:
    """Identifies a base model by a sample of its weights, wherever it was loaded from."""
    seen = hashlib.sha256(f"{TEXTS} {LENGTH} {SEED} {model.dtype}".encode())
    for read, module in model.projections():
        weight = base_layer(module).weight.detach().flatten()
        sample = weight[:: max(1, weight.numel() // 1024)]
        seen.update(read.encode() + sample.float().cpu().numpy().tobytes())
    return seen.hexdigest()[:16]


def _cached(place: Path, share: float) -> dict[str, torch.Tensor] | None:
    """The cached bases; None if there are none, they hold too little, or they can't be read."""
    found = read_tensors(place)
    if found is None:
        return None
    # A basis that leaves out one direction only is as large as it gets.
    enough = (
        held[-1] >= share or len(held) == len(found[name.removesuffix(HELD)]) - 1
        for name, held in found.items()
        if name.endswith(HELD)
    )  # fmt: skip
    return found if all(enough) else None


def read_tensors(place: Path) -> dict[str, torch.Tensor] | None:
    """What a cached file holds; None if there is none, or it can't be read."""
    try:
        return load_file(place)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        log.warning("%s can't be read (%s), so it is computed again.", place, error)
        return None


def write_tensors(found: dict[str, torch.Tensor], place: Path) -> None:
    """Writes a cached file whole or not at all; where it can't be written, that is only logged."""
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        save_file(found, part)
        put_in_place(part, place)
    except (SafetensorError, OSError) as error:
        log.warning("%s can't be written (%s), so the next run computes it again.", place, error)
        with contextlib.suppress(OSError):
            part.unlink()


def own_texts(model: LabModel, seed: int, count: int, length: int) -> list[tuple[int, ...]]:
    """Samples texts from the base model, each after the document separator.

    Args:
        model: in any checkpoint; the base model writes.
        seed: of the sampling; the global random state is left unchanged.
        count: how many texts.
        length: tokens of each, without the separator.

    Returns:
        Token ids with the separator first, `[count][1 + length]`.
    """
    builder = model.builder
    start = torch.full((count, 1), builder.separator, device=model.device)
    mixed = model.dtype != torch.float32
    devices = [model.device] if model.device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        model.using("base"),
        model.switched("base"),
        torch.autocast(model.device.type, model.dtype, enabled=mixed),
    ):
        torch.manual_seed(seed)
        written = bare(model.network).generate(
            input_ids=start,
            attention_mask=torch.ones_like(start),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=0.95,  # the tail of the distribution is noise
            max_new_tokens=length,
            min_new_tokens=length,
            suppress_tokens=[builder.key_id(relation) for relation in model.relations],
            pad_token_id=builder.separator,
        )
    return [tuple(ids) for ids in written.tolist()]
