"""A look inside a run that ended before the lab knew how: from its adapters, afterwards.

Runs of today are looked into as they go (`experiment`); those of older versions, and those that
came in an older bundle, lack some figures. `complete` computes these and keeps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.errors import LabError
from rotelab.evaluation.pca import kept_states
from rotelab.registry import Registry, RunRow
from rotelab.storage import Storage, adapter_folder

if TYPE_CHECKING:
    from rotelab.models.lora import LabModel


def missing(registry: Registry, settings: Storage, run: RunRow) -> bool:
    """Whether figures are missing that `complete` could compute; not while the run is under way.

    Raises:
        LabError: the registry can't be read.
    """
    if run.status in ("queued", "running", "stopping"):
        return False
    there = _there(settings, run.id)
    if len(there) == 1:
        return False
    seen = {row.checkpoint for row in registry.lens(run.id)}
    moved = {row.checkpoint for row in registry.weight_changes(run.id)}
    return not (set(there) <= seen and set(there[1:]) <= moved)


def complete(registry: Registry, settings: Storage, run_id: str) -> None:
    """Computes what is missing of a run's inside, and keeps it.

    Hidden states that the run kept are used; only where it kept none, the model reads the prompts.

    Args:
        registry: knows the run, and takes the figures.
        settings: says where its adapters and hidden states are.
        run_id: the run.

    Raises:
        UnknownRun: there is no such run.
        LabError: it has no adapters, they are damaged, the model can't be had, the device is busy,
            or nothing is known of how this model's layers are to be read.
    """
    run = registry.run(run_id)
    there = _there(settings, run_id)
    if len(there) == 1:
        raise LabError(
            "This run's adapters are not on this machine, so its layers can't be looked at. Import "
            "it with its adapters, or run it again."
        )
    _yield_device(registry, run)
    # torch takes seconds to import: only when first needed.
    from rotelab.config.names import ADAPTER_OF
    from rotelab.evaluation.representations import viewpoints
    from rotelab.models.adapter_files import load_adapter
    from rotelab.models.loading import load_model
    from rotelab.runs import internals

    relations = [relation.name for relation in run.pack.facts.relations]
    model = load_model(run.config.model, relations, run.config.seed, method=run.config.method)
    for checkpoint in there[1:]:
        load_adapter(model, ADAPTER_OF[checkpoint], adapter_folder(settings, run_id, checkpoint))
        internals.record_changes(registry, run_id, checkpoint, model)
    facts = run.pack.facts
    for checkpoint in there:
        kept = kept_states(settings, run_id, checkpoint)
        with model.using(checkpoint):
            if kept is None:
                split = facts.split(run.config.generalize.k, run.config.seed)
                views = viewpoints(model, facts, split, run.pack.prompts, run.config.seed)
                about = (registry, settings, run_id, checkpoint, model, views, facts)
                internals.look_inside(*about)
            else:
                views, states = kept
                _check_fit(model, states, [view.fact for view in views], len(facts))
                internals.record_lens(registry, run_id, checkpoint, model, states, views, facts)
    if not registry.lens(run_id):
        raise LabError(
            f"It is not known how to read the layers of a model such as {run.config.model.name!r}. "
            "The logit lens works for Llama, Mistral, Phi, Qwen and SmolLM models."
        )


def _there(settings: Storage, run_id: str) -> list[Checkpoint]:
    """The checkpoints whose adapters are on this machine; each needs those before it."""
    found: list[Checkpoint] = []
    for checkpoint in CHECKPOINTS:
        if checkpoint != "base":
            meta = adapter_folder(settings, run_id, checkpoint) / "meta.json"
            if not meta.is_file():
                break
        found.append(checkpoint)
    return found


def _yield_device(registry: Registry, run: RunRow) -> None:
    """Training comes first on a GPU, where two models may not fit."""
    from rotelab.models.loading import pick_device

    live = registry.live_runs()
    if live and pick_device(run.config.model.device).type != "cpu":
        raise LabError(
            f"The run {live[0].id} is training on this device, so there is no room for another "
            "model. Try again when it has ended, or stop it."
        )


def _check_fit(model: LabModel, states, facts: list[int], known: int) -> None:
    config = model.network.config
    wanted = (config.num_hidden_layers + 1, config.hidden_size)
    if states.shape[1:] != wanted or not all(0 <= fact < known for fact in facts):
        raise LabError(
            "The hidden states that this run kept belong to another model or to other facts. Run "
            "the experiment again."
        )
