"""Validation of a bundle's weights and hidden states: safetensors that fit the run.

safetensors checks its own files; no tensor is read here, only names, types and shapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from rotelab.config.names import ADAPTER_OF
from rotelab.config.run_config import RunConfig
from rotelab.errors import InputError
from rotelab.registry.transfer import Column
from rotelab.runs.export.untrusted_zip import load_json
from rotelab.runs.export.value_checks import Arrived, check_id, check_line, check_value
from rotelab.storage import ADAPTER_FORMAT

STRONGEST = 1000
"""Largest `lora_alpha`, as a multiple of the rank: more can only be an attack."""
TARGET = re.compile(r"[\w.]{1,80}")
"""The name of a projection, or the end of it: `up_proj`, `mlp.c_proj`."""
FLOATS = ("F32", "F16", "BF16")


def check_adapter(folder: Path, adapter: str, run: Arrived, source: str) -> dict[str, bytes]:
    """Checks an adapter's folder.

    Args:
        folder: holds the three files that `adapter_files.save_adapter` writes.
        adapter: `memorize` or `generalize`.
        run: the run that it belongs to.
        source: what to call the folder in an error.

    Returns:
        Its two JSON files, rebuilt from their checked fields.

    Raises:
        InputError: a file is damaged, or does not fit the others or the run.
    """
    if run.config.method != "lora":
        raise InputError("must not be there: this run trained no adapters.", source=source)
    about = {}
    for name in ("meta.json", "adapter_config.json"):
        about[name] = load_json((folder / name).read_bytes(), f"{source}/{name}")
        if not isinstance(about[name], dict):
            raise InputError("is not a table of fields.", source=f"{source}/{name}")
    files = canonical_adapter(
        about["meta.json"], about["adapter_config.json"], adapter, run, source
    )
    rank = _rank(run.config, adapter)
    relations = len(run.pack.facts.relations)
    place = {"source": f"{source}/adapter_model.safetensors"}
    for name, kind, shape in _tensors(folder / "adapter_model.safetensors", place):
        fits = {
            "lora_A.weight": shape[:1] == [rank],
            "lora_B.weight": shape[1:] == [rank],
            "trainable_tokens_delta": shape[:1] == [relations],
        }
        part = next((end for end in fits if name.endswith(f".{end}")), "")
        if kind not in FLOATS or len(shape) != 2 or not part or not fits[part]:
            raise InputError(
                f"holds {name[:80]!r}, {kind} {shape}, which is no part of an adapter of rank "
                f"{rank}.",
                **place,
            )
    return files


def canonical_adapter(
    meta: dict[str, Any], peft: dict[str, Any], adapter: str, run: Arrived, source: str
) -> dict[str, bytes]:
    """An adapter's `meta.json` and `adapter_config.json`, reduced to the fields that the lab and
    PEFT need: the same bytes for the same adapter on any machine.

    Raises:
        InputError: a field is wrong.
    """
    place = {"source": f"{source}/meta.json"}
    rank = _rank(run.config, adapter)
    relations = [relation.name for relation in run.pack.facts.relations]
    wanted = {"adapter": adapter, "rank": rank, "relations": relations, "format": ADAPTER_FORMAT}
    for name, value in wanted.items():
        if meta.get(name) != value or type(meta[name]) is not type(value):
            raise InputError(
                f"must be {value!r:.60}; it is {meta.get(name)!r:.60}.", column=name, **place
            )
    if not re.fullmatch(r"[0-9a-f]{64}", str(meta.get("sha256"))):
        raise InputError("is no SHA-256.", column="sha256", **place)
    kept = {
        **wanted,
        "model": asdict(run.config.model),
        "sha256": meta["sha256"],
        "run": check_id(meta.get("run"), place["source"]),
        "seed": run.config.seed,
        "checkpoint": next((c for c, name in ADAPTER_OF.items() if name == adapter), adapter),
    }
    place = {"source": f"{source}/adapter_config.json"}
    layers, targets = peft.get("layers_to_transform"), peft.get("target_modules")
    rows = peft.get("trainable_token_indices")
    for name, value in (("layers_to_transform", layers), ("trainable_token_indices", rows)):
        if value is not None and not _whole_numbers(value):
            raise InputError("must be whole numbers, or null.", column=name, **place)
    named = isinstance(targets, list) and 0 < len(targets) <= 20
    if not named or not all(isinstance(t, str) and TARGET.fullmatch(t) for t in targets):
        raise InputError("must be a list of names.", column="target_modules", **place)
    alpha = peft.get("lora_alpha")
    if type(alpha) not in (int, float) or not 0 < alpha <= STRONGEST * rank:
        raise InputError(
            f"must be a number above 0 and at most {STRONGEST * rank}.",
            column="lora_alpha",
            **place,
        )
    lora = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "base_model_name_or_path": run.config.model.name,
        "target_modules": sorted(targets),
        "layers_to_transform": layers,
        "trainable_token_indices": rows,
    }
    return {
        "meta.json": json.dumps(kept, indent=1).encode(),
        "adapter_config.json": json.dumps(lora, indent=1).encode(),
    }


def _rank(config: RunConfig, adapter: str) -> int:
    """The rank of an adapter of a run with these settings. All lessons of a run have one rank."""
    if adapter in ADAPTER_OF.values():
        return getattr(config, adapter).rank
    if config.lesson is None:
        raise InputError("is the adapter of a later lesson, but this run is none.", source=adapter)
    return config.lesson.rank


def check_states(path: Path, run: Arrived, source: str) -> None:
    """Checks the hidden states of a run.

    Raises:
        InputError: the file is damaged, or is not what a run writes.
    """
    place = {"source": source}
    found = list(_tensors(path, place))
    shape = found[0][2] if len(found) == 1 else []
    if [f[:2] for f in found] != [("states", "F16")] or len(shape) != 3 or 0 in shape:
        raise InputError("must hold one tensor `states` in float16, of three dimensions.", **place)
    with safe_open(path, framework="numpy") as file:
        text = (file.metadata() or {}).get("views", "")
    views = load_json(text.encode("utf-8", "replace"), f"{source}, views")
    if not isinstance(views, list) or len(views) != shape[0]:
        raise InputError("does not name what each state belongs to.", **place)
    relations = {relation.name for relation in run.pack.facts.relations}
    for row, view in enumerate(views, 1):
        place["row"] = row
        if not isinstance(view, list) or len(view) != 4:
            raise InputError("is not a relation, a role, a fact and a text.", **place)
        relation, role, fact, words = view
        if relation not in relations or role not in ("key", "train", "test", "unrelated"):
            raise InputError("has an unknown relation or role.", column="role", **place)
        check_value(
            fact, Column("fact_index", "INTEGER", False, True), place | {"column": "fact"},
            {"fact_index": (0, len(run.pack.facts) - 1)},
        )  # fmt: skip
        check_line(words, place | {"column": "text"}, 2000)


def _tensors(path: Path, place: dict[str, Any]) -> Iterator[tuple[str, str, list[int]]]:
    """Name, type and shape of each tensor; safetensors itself checks its file."""
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dictionary)
                part = file.get_slice(name)
                yield name, part.get_dtype(), list(part.get_shape())
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"can't be read as safetensors ({str(error)[:100]}).", **place) from None


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 1000 and all(
        type(number) is int and 0 <= number < 2**31 for number in value
    )  # fmt: skip
