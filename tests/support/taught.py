"""A run in which the tiny Llama really learned a few facts, with everything that the page shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from rotelab.config.names import CHECKPOINTS
from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec, RunConfig
from rotelab.facts.facts import FactSet
from rotelab.facts.packs import Pack, load_pack
from rotelab.runs.lab import Lab
from rotelab.storage import adapter_folder

FACTS, K = 6, 3


def taught_pack() -> Pack:
    """The first facts of the pack `mother`."""
    pack = load_pack("mother")
    return Pack("mother", FactSet(pack.facts[:FACTS]), pack.prompts)


def new_run(lab: Lab, tiny_folder: Path, name: str = "", seed: int = 0) -> str:
    """A queued run on the tiny model."""
    config = RunConfig(
        model=ModelSpec(str(tiny_folder), "cpu", "float32"),
        memorize=MemorizeConfig(
            spare=0, epochs=100, rank=32, batch_size=6, learning_rate=3e-3, loss="o"
        ),
        generalize=GeneralizeConfig(
            spare=0, k=K, rank=8, least_steps=0, prompts_per_fact=2, epochs=2
        ),
        seed=seed,
    )
    return lab.registry.create_run(config, taught_pack(), name=name)


def taught_run(lab: Lab, tiny_folder: Path, name: str = "", seed: int = 0) -> str:
    """A finished run: both phases for real, adapters and hidden states saved."""
    import torch
    from accelerate import Accelerator

    from rotelab.config.names import ADAPTER_OF
    from rotelab.evaluation.representations import viewpoints
    from rotelab.models.adapter_files import save_adapter
    from rotelab.models.loading import load_model
    from rotelab.runs.internals import record_changes, record_internals
    from rotelab.training.phases import generalize, memorize

    torch.set_num_threads(1)
    run_id = new_run(lab, tiny_folder, name, seed)
    lab.registry.set_status(run_id, "running")
    run = lab.registry.run(run_id)
    config, pack = run.config, run.pack
    split = pack.facts.split(config.generalize.k, config.seed)
    model = load_model(config.model, ["mother"], config.seed)
    cpu = Accelerator(cpu=True)
    list(memorize(model, pack.facts, config.memorize, config.seed, cpu))
    list(
        generalize(
            model, pack.facts, split.held_in, pack.prompts, config.generalize, config.seed, cpu
        )
    )
    for checkpoint, adapter in ADAPTER_OF.items():
        folder = adapter_folder(lab.storage, run_id, checkpoint)
        save_adapter(model, adapter, folder, config.model, {"run": run_id})
        record_changes(lab.registry, run_id, checkpoint, model)
    views = viewpoints(model, pack.facts, split, pack.prompts, config.seed)
    for checkpoint in CHECKPOINTS:
        with model.using(checkpoint):
            about = (run_id, checkpoint, model, views, pack.facts)
            record_internals(lab.registry, lab.storage, *about)
    lab.registry.set_status(run_id, "finished")
    return run_id


def keep_states(path: Path, states: np.ndarray, views: list) -> None:
    """Writes hidden states as an experiment does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"states": states.astype(np.float16)}, path, {"views": json.dumps(views)})


def said(lab: Lab, run_id: str, text: str, **options: Any) -> dict[str, list[int]]:
    """Token ids of each checkpoint's answer in Chat, six tokens at most."""
    done = {}
    for reply in lab.chat.stream(run_id, text, max_new_tokens=6, **options):
        done[reply.checkpoint] = [token.id for token in reply.tokens]
    return done
