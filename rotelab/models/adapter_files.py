"""Adapters and training state on disk: safetensors and a `meta.json`, written whole or not at all.

An adapter's folder is what PEFT writes (`adapter_config.json`, `adapter_model.safetensors`), so
`PeftModel.load_adapter` reads it too, plus `meta.json`: all that is needed to load it again. PEFT
0.21's own `save_pretrained` raises `KeyError` for an adapter without trained token rows beside one
that has them, so the tensors are picked here. A phase that trained the model's own weights has
them whole in `model.safetensors`.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rotelab.config.run_config import ModelSpec
from rotelab.errors import LabError
from rotelab.models.full_finetuning import FullModel
from rotelab.models.lora import GENERALIZE, MEMORIZE, Checkpoint, LabModel
from rotelab.training.loop import TrainState

FORMAT = 1
WEIGHTS = {"lora": "adapter_model.safetensors", "full": "model.safetensors"}
"""The file of weights in a phase's folder, by `RunConfig.method`."""
ADAPTER_OF: dict[Checkpoint, str] = {"memorized": MEMORIZE, "generalized": GENERALIZE}


def save_adapter(
    model: LabModel, adapter: str, folder: Path, spec: ModelSpec, about: dict[str, Any]
) -> None:
    """Writes one adapter into `folder`, replacing what was there.

    Args:
        model: has the adapter attached.
        adapter: `memorize` or `generalize`.
        folder: the adapter's own folder.
        spec: the base model, for loading again.
        about: what else `meta.json` is to say (run id, epochs, versions).
    """
    tensors = {n: t.detach().cpu().contiguous() for n, t in model.tensors(adapter).items()}
    weights = WEIGHTS[model.method]
    with written_whole(folder) as work:
        save_file(tensors, work / weights, {"format": "pt"})
        meta: dict[str, Any] = {"format": FORMAT, "adapter": adapter}
        if model.method == "lora":
            peft_config = model.network.peft_config[adapter]
            peft_config.save_pretrained(str(work))
            meta["rank"] = peft_config.r
        else:
            meta["method"] = model.method
        meta |= {
            "relations": list(model.relations),
            "model": asdict(spec),
            "sha256": _sha256(work / weights),
            **about,
        }
        (work / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def load_adapter(model: LabModel, adapter: str, folder: Path) -> dict[str, Any]:
    """Attaches an adapter that `save_adapter` wrote and returns its `meta.json`.

    Raises:
        LabError: the folder is missing, damaged, or belongs to another model.
    """
    meta = check_adapter(folder)
    if tuple(meta["relations"]) != model.relations or meta["adapter"] != adapter:
        raise LabError(f"The adapter in {folder} was made for other relations than this run's.")
    if meta.get("method", "lora") != model.method:
        raise LabError(f"The weights in {folder} were trained in another way than this run's.")
    tensors = load_file(_weights(folder, meta))
    if isinstance(model, FullModel):
        model.attach_weights(adapter, list(tensors))
    else:
        model.attach(adapter, meta["rank"], 0, **_shape(folder))
    own = model.tensors(adapter)
    shapes = {name: tensor.shape for name, tensor in own.items()}
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        raise LabError(f"The adapter in {folder} does not fit this model's layers.")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    return meta


def check_adapter(folder: Path) -> dict[str, Any]:
    """The `meta.json` of an adapter whose file is the one that was saved.

    Raises:
        LabError: the folder is missing or damaged.
    """
    meta = read_meta(folder)
    weights = _weights(folder, meta)
    if not weights.is_file() or _sha256(weights) != meta.get("sha256"):
        raise LabError(
            f"The adapter in {folder} is damaged: its file is not the one that was saved. "
            "Run the experiment again."
        )
    return meta


def copy_adapter(source: Path, folder: Path, about: dict[str, Any]) -> None:
    """Makes `folder` the same adapter as `source`; the weights take no room twice where the file
    system lets two names stand for one file. Neither is ever written into afterwards.

    Args:
        source: an adapter that `check_adapter` found whole.
        folder: the new adapter's own folder; what was there goes.
        about: what its `meta.json` is to say otherwise.

    Raises:
        LabError: the source has no `meta.json` that can be read.
        OSError: the disk is full or not writable.
    """
    meta = read_meta(source) | about
    with written_whole(folder) as work:
        for path in source.iterdir():
            if path.suffix == ".safetensors":
                link_or_copy(path, work / path.name)
            elif path.name != "meta.json":
                shutil.copyfile(path, work / path.name)
        (work / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file that is never changed a second name, or copies it where that can't be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def read_meta(folder: Path) -> dict[str, Any]:
    """An adapter's `meta.json`.

    Raises:
        LabError: missing or not readable, or written by a newer version of the lab.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        version = meta["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"There is no whole adapter in {folder}. Run the experiment again."
        ) from error
    if version > FORMAT:
        raise LabError(f"The adapter in {folder} was written by a newer rotelab. Update rotelab.")
    return meta


def _weights(folder: Path, meta: dict[str, Any]) -> Path:
    """The file that holds the weights that a `meta.json` tells of."""
    method = meta.get("method", "lora")
    if method not in WEIGHTS:
        raise LabError(f"The adapter in {folder} was written by a newer rotelab. Update rotelab.")
    return folder / WEIGHTS[method]


def _shape(folder: Path) -> dict[str, Any]:
    """Which projections of which layers an adapter sits on, and how strongly it counts, from PEFT's
    own `adapter_config.json`; nothing else in that file is used."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        layers, targets = config["layers_to_transform"], config["target_modules"]
        alpha = float(config["lora_alpha"])
        whole = layers is None or all(isinstance(layer, int) for layer in layers)
        if not whole or not all(isinstance(name, str) for name in targets):
            raise ValueError("layers are numbers and projections are names")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"The adapter in {folder} is damaged: its adapter_config.json can't be read. "
            "Run the experiment again."
        ) from error
    return {"layers": layers, "projections": sorted(targets), "alpha": alpha}


def save_state(state: TrainState, folder: Path) -> None:
    """Writes where training stands, replacing the state before."""
    with written_whole(folder) as work:
        tensors = work / "state.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, tensors)
        place = {
            "format": FORMAT,
            "phase": state.phase,
            "epoch": state.epoch,
            "step": state.step,
            "done": state.done,
        }
        seal = {"sha256": _seal(place, tensors)}
        (work / "state.json").write_text(json.dumps(place | seal), encoding="utf-8")


def load_state(folder: Path) -> TrainState | None:
    """The state that `save_state` wrote; None where there is none or where it is not whole.

    What a kill had left half done is finished first: only the run's own process may call this.
    """
    finish_writing(folder)
    try:
        place = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        sealed = place.pop("sha256")
        if _seal(place, folder / "state.safetensors") != sealed:
            return None
        tensors = load_file(folder / "state.safetensors")
        return TrainState(place["phase"], place["epoch"], place["step"], tensors, place["done"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
        return None


def remove_state(folder: Path) -> None:
    """Removes a state that is not needed any more; one half removed is none."""
    finish_writing(folder)
    if folder.is_dir():
        folder.rename(_beside(folder, "old"))
        finish_writing(folder)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place, flushed, when the block succeeds.

    Two folders can't be exchanged at one stroke. So the new one first gets a name that says that
    it is whole; a kill between the renames that follow leaves work for `finish_writing` and loses
    neither of the two.

    Raises:
        OSError: the disk is full or not writable; what was there before is still there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    finish_writing(folder)
    work = _beside(folder, f"{os.getpid()}.tmp")
    work.mkdir()
    try:
        yield work
        for path in work.iterdir():
            flush(path)
        flush(work)
        work.rename(_beside(folder, "new"))
        flush(folder.parent)
        finish_writing(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def finish_writing(folder: Path) -> None:
    """Finishes what a killed `written_whole` had begun, and clears away what it left half done.

    Only the one who writes `folder` may call this.

    Raises:
        OSError: the disk is not writable.
    """
    new, old = _beside(folder, "new"), _beside(folder, "old")
    if new.is_dir():
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
        flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        pid = left.name.split(".")[-2]
        # An export of another process into the same place would be written under its own PID.
        if pid == str(os.getpid()) or not (pid.isdigit() and psutil.pid_exists(int(pid))):
            shutil.rmtree(left, ignore_errors=True)


def flush(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk and not only on their way.

    Raises:
        OSError: they can't be written.
    """
    if path.is_dir() and os.name != "posix":
        return  # elsewhere a folder can't be opened, and its names need no flushing
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}.{ending}")


def _seal(place: dict[str, Any], tensors: Path) -> str:
    """SHA-256 over both parts of a state: an epoch that reads 7 for 3 is damage too."""
    whole = json.dumps([place, _sha256(tensors)], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
