"""Adapters on disk: safetensors and a `meta.json`, each folder written atomically.

An adapter's folder holds what PEFT writes (`adapter_config.json`, `adapter_model.safetensors`), so
`PeftModel.load_adapter` reads it too, and a `meta.json` with everything needed to load it again.
PEFT 0.21's own `save_pretrained` raises `KeyError` if one adapter has trained token rows and
another has none, so the tensors are picked here. After full fine-tuning, a phase's folder has the
model's weights in `model.safetensors` instead.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from rotelab.config.run_config import ModelSpec
from rotelab.errors import LabError
from rotelab.models.full_finetuning import FullModel
from rotelab.models.lab_model import AdapterShape, LabModel
from rotelab.storage import ADAPTER_FORMAT, link_or_copy, sha256_of, written_whole

WEIGHTS = {"lora": "adapter_model.safetensors", "full": "model.safetensors"}
"""The file of weights in a phase's folder, by `RunConfig.method`."""


def save_adapter(
    model: LabModel, adapter: str, folder: Path, spec: ModelSpec, about: dict[str, Any]
) -> None:
    """Writes one adapter into `folder`, replacing anything there.

    Args:
        model: has the adapter attached.
        adapter: `memorize` or `generalize`.
        folder: for this adapter alone.
        spec: the base model, to load it again.
        about: more entries of `meta.json` (run id, epochs, versions).
    """
    tensors = {n: t.detach().cpu().contiguous() for n, t in model.tensors(adapter).items()}
    weights = WEIGHTS[model.method]
    with written_whole(folder) as work:
        save_file(tensors, work / weights, {"format": "pt"})
        meta: dict[str, Any] = {"format": ADAPTER_FORMAT, "adapter": adapter}
        if model.method == "lora":
            peft_config = model.network.peft_config[adapter]
            peft_config.save_pretrained(str(work))
            meta["rank"] = peft_config.r
        else:
            meta["method"] = model.method
        meta |= {
            "relations": list(model.relations),
            "model": asdict(spec),
            "sha256": sha256_of(work / weights),
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
        raise LabError(
            f"The weights in {folder} were trained with another method than this run's (LoRA or "
            "full fine-tuning)."
        )
    tensors = load_file(_weights(folder, meta))
    if isinstance(model, FullModel):
        model.attach_weights(adapter, list(tensors))
    else:
        model.attach(adapter, _shape(folder, meta["rank"]))
    own = model.tensors(adapter)
    shapes = {name: tensor.shape for name, tensor in own.items()}
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        raise LabError(f"The adapter in {folder} does not fit this model's layers.")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    return meta


def check_adapter(folder: Path) -> dict[str, Any]:
    """An adapter's `meta.json`, after checking that its weights are the ones that were saved.

    Raises:
        LabError: the folder is missing or damaged.
    """
    meta = read_meta(folder)
    weights = _weights(folder, meta)
    if not weights.is_file() or sha256_of(weights) != meta.get("sha256"):
        raise LabError(
            f"The adapter in {folder} is damaged: its file is not the one that was saved. "
            "Make the run again."
        )
    return meta


def copy_adapter(source: Path, folder: Path, about: dict[str, Any]) -> None:
    """Copies an adapter, as a hard link to its weights if the file system can.

    That is safe because neither file is ever changed in place.

    Args:
        source: an adapter that passed `check_adapter`.
        folder: for the copy alone; anything there is replaced.
        about: entries of its `meta.json` that differ.

    Raises:
        LabError: the source's `meta.json` can't be read.
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


def read_meta(folder: Path) -> dict[str, Any]:
    """An adapter's `meta.json`.

    Raises:
        LabError: it is missing, can't be read, or was written by a newer version of the lab.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        version = meta["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"There is no complete adapter in {folder}. Make the run again.") from error
    if version > ADAPTER_FORMAT:
        raise LabError(f"The adapter in {folder} was written by a newer rotelab. Update rotelab.")
    return meta


def _weights(folder: Path, meta: dict[str, Any]) -> Path:
    """The file with an adapter's weights."""
    method = meta.get("method", "lora")
    if method not in WEIGHTS:
        raise LabError(f"The adapter in {folder} was written by a newer rotelab. Update rotelab.")
    return folder / WEIGHTS[method]


def _shape(folder: Path, rank: int) -> AdapterShape:
    """An adapter's shape from PEFT's `adapter_config.json`; nothing else in that file is used."""
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
            "Make the run again."
        ) from error
    return AdapterShape(rank, layers=layers, projections=sorted(targets), alpha=alpha)
