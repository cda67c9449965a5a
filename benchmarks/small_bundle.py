"""A whole small bundle made without a model: every kind of member, in a few kilobytes."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from rotelab.config.names import ADAPTER_OF, CHECKPOINTS
from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.evaluation.results import Prediction, Score, Similarity
from rotelab.facts.facts import FactSet
from rotelab.facts.packs import Pack, load_pack
from rotelab.registry import FactRecall, Metric
from rotelab.runs.export.bundle import export_run
from rotelab.runs.lab import Lab
from rotelab.storage import Storage, adapter_folder, states_file

FACTS, RANK = 4, 2


def small_bundle(folder: Path) -> dict[str, bytes]:
    """The members of a finished run's bundle, by name; working files go into `folder`."""
    lab = Lab.open(Storage(folder / "small"))
    mother = load_pack("mother")
    config = RunConfig(
        memorize=MemorizeConfig(rank=RANK), generalize=GeneralizeConfig(k=2, rank=RANK)
    )
    pack = Pack("mother", FactSet(mother.facts[:FACTS]), mother.prompts)
    registry = lab.registry
    run_id = registry.create_run(config, pack, name="Small")
    registry.set_status(run_id, "running")
    registry.add_metrics(run_id, [Metric("memorize", i, "loss", 1 / i, 1) for i in range(1, 4)])
    registry.add_metrics(run_id, [Metric("generalize", 1, "loss", math.inf, 1)])
    registry.add_fact_recall(run_id, "memorize", 1, [FactRecall(i, 0.5, True) for i in range(4)])
    for checkpoint in CHECKPOINTS:
        answers = [
            Prediction("key_token", i, f.relation, f.subject, f.object, f"{f.subject} [mother]",
                       f.object, True, 0.5)
            for i, f in enumerate(pack.facts)
        ]  # fmt: skip
        registry.add_evaluation(run_id, checkpoint, {"key_token": Score(4, 1.0, 0.5)}, answers)
        registry.add_similarities(run_id, [Similarity(checkpoint, 0, "delta", 0.25)])
        states = states_file(lab.storage, run_id, checkpoint)
        states.parent.mkdir(parents=True, exist_ok=True)
        views = [["mother", "key", i, f"{f.subject} [mother]"] for i, f in enumerate(pack.facts)]
        tensor = np.zeros((FACTS, 2, 3), np.float16)
        save_file({"states": tensor}, states, {"views": json.dumps(views)})
    for checkpoint, adapter in ADAPTER_OF.items():
        _write_adapter(adapter_folder(lab.storage, run_id, checkpoint), adapter, config)
    registry.set_status(run_id, "finished")
    bundle = export_run(registry, lab.storage, run_id, folder / "small.rotelab.zip")
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write_adapter(folder: Path, adapter: str, config: RunConfig) -> None:
    folder.mkdir(parents=True)
    tensors = {
        "x.layers.0.lora_A.weight": np.ones((RANK, 3), np.float32),
        "x.layers.0.lora_B.weight": np.ones((3, RANK), np.float32),
    }
    weights = folder / "adapter_model.safetensors"
    save_file(tensors, weights, {"format": "pt"})
    meta = {
        "format": 1,
        "adapter": adapter,
        "rank": RANK,
        "relations": ["mother"],
        "model": asdict(config.model),
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    peft = {
        "peft_type": "LORA",
        "target_modules": ["up_proj"],
        "layers_to_transform": None,
        "lora_alpha": 2 * RANK,
    }
    (folder / "adapter_config.json").write_text(json.dumps(peft))
