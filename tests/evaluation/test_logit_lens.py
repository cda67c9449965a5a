"""The logit lens, how far adapters move the weights, and both computed afterwards."""

import shutil

import numpy as np
import pytest
import torch
from support.taught import keep_states, taught_run

from rotelab.config.names import CHECKPOINTS
from rotelab.errors import LabError
from rotelab.evaluation import logit_lens
from rotelab.evaluation.representations import hidden_states, viewpoints
from rotelab.evaluation.results import LensReading, WeightChange
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.prompts import PromptSet, PromptTemplate
from rotelab.models.full_finetuning import FullModel
from rotelab.models.lab_model import AdapterShape
from rotelab.models.packing import pack
from rotelab.runs.internals import backfill, lacks_internals
from rotelab.storage import states_file

FACTS = FactSet([Fact("mother", f"Person {i}", f"Parent {i}") for i in range(20)])
PROMPTS = PromptSet(
    [
        PromptTemplate("mother", "train", "en", "The mother of {subject} is"),
        PromptTemplate("mother", "test", "en", "Who gave birth to {subject}?"),
        PromptTemplate("mother", "unrelated", "en", "Where does {subject} live?"),
    ]
)


def shaken(model):
    """Both adapters on, with weights that change something."""
    model.attach("memorize", AdapterShape(4, 1))
    model.attach("generalize", AdapterShape(2, 2))
    torch.manual_seed(3)
    with torch.no_grad():
        for adapter in ("memorize", "generalize"):
            for tensor in model.tensors(adapter).values():
                tensor.add_(torch.randn_like(tensor) * 0.3)
    return model


def seen(model):
    views = viewpoints(model, FACTS, FACTS.split(2, 0), PROMPTS, 0)
    return views, hidden_states(model, views)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_the_last_layer_says_what_the_model_says(tiny, checkpoint):
    model = shaken(tiny)
    with model.using(checkpoint):
        views, states = seen(model)
        found = {
            r.role: r for r in logit_lens.readings(model, states, views, FACTS) if r.layer == 2
        }
        assert set(found) == {"key", "train", "test"}
        for role, reading in found.items():
            chances, ranks = [], []
            for view in [v for v in views if v.role == role][: logit_lens.FACTS]:
                row = pack([view.ids])
                logits, _ = model.forward(row, torch.tensor([row.nodes[0][-1]]))
                wanted = model.builder.spaced(FACTS[view.fact].object)[0]
                chances.append(logits[0].softmax(-1)[wanted].item())
                ranks.append((logits[0] >= logits[0, wanted]).sum().item())
            assert reading.n == len(ranks) == logit_lens.FACTS
            assert reading.probability == pytest.approx(np.mean(chances), rel=1e-3)
            assert reading.rank == np.median(ranks)
            assert reading.share == np.mean([rank == 1 for rank in ranks])


def test_a_middle_layer_is_read_through_norm_and_head(tiny):
    views, states = seen(tiny)
    key = [i for i, v in enumerate(views) if v.role == "key"][: logit_lens.FACTS]
    wanted = [tiny.builder.spaced(FACTS[views[i].fact].object)[0] for i in key]
    hidden = torch.from_numpy(states[key, 1])
    base = tiny.network
    expected = base.lm_head(base.model.norm(hidden)).softmax(-1)[range(len(key)), wanted]
    found = next(
        r
        for r in logit_lens.readings(tiny, states, views, FACTS)
        if (r.layer, r.role) == (1, "key")
    )
    assert found.probability == pytest.approx(expected.mean().item(), rel=1e-4)


def test_an_object_that_is_said_is_the_first_choice_and_many_prompts_are_thinned(tiny):
    views, states = seen(tiny)
    key = [i for i, v in enumerate(views) if v.role == "key"]
    head = tiny.network.lm_head.weight.detach()
    for i in key:  # at the last layer, a state that points at the object's first token
        states[i, 2] = 5000 * head[tiny.builder.spaced(FACTS[views[i].fact].object)[0]].numpy()
    found = {(r.layer, r.role): r for r in logit_lens.readings(tiny, states, views, FACTS)}
    assert found[2, "key"].share == 1.0 and found[2, "key"].rank == 1
    assert found[2, "key"].probability > 0.9 > found[1, "key"].probability
    roles = ("key", "train", "test", "unrelated")
    spread = [type(views[0])(f"r{r}", role, 0, "", ()) for r in range(9) for role in roles] * 30
    chosen = logit_lens.sampled(spread)
    assert len(chosen) <= logit_lens.MAX_PROMPTS
    assert {(spread[i].relation, spread[i].role) for i in chosen} == {
        (f"r{r}", role) for r in range(9) for role in roles[:3]
    }


def test_other_families_are_read_through_their_own_forward(tiny):
    views, states = seen(tiny)
    short = logit_lens.readings(tiny, states, views, FACTS)
    tiny.network.config.model_type = "other"
    own = logit_lens.readings(tiny, states, views, FACTS)
    assert [r.probability for r in own] == pytest.approx([r.probability for r in short], rel=1e-4)


def test_how_far_an_adapter_moves_a_matrix(tiny):
    model = shaken(tiny)
    found = {name: (change, own) for name, change, own in model.changed("generalize")}
    assert len(found) == 2 * 4, "four attention projections in two layers"
    for name, module in model.network.named_modules():
        if name in found:
            product = module.lora_B["generalize"].weight @ module.lora_A["generalize"].weight
            moved = (product * module.scaling["generalize"]).norm().item()
            assert found[name][0] == pytest.approx(moved, rel=1e-4)
            assert found[name][1] == pytest.approx(module.base_layer.weight.norm().item())


def test_how_far_whole_weights_moved_counts_from_the_phase_before(tiny):
    model = FullModel(tiny.network, tiny.tokenizer, tiny.relations)
    model.attach("memorize", AdapterShape(projections="mlp"))
    model.tensors("memorize")["model.layers.0.mlp.up_proj.weight"].add_(2.0)
    model.attach("generalize", AdapterShape(projections="mlp"))
    model.tensors("generalize")["model.layers.0.mlp.up_proj.weight"].add_(1.0)
    for phase, step in (("memorize", 2.0), ("generalize", 1.0)):
        moved = {name: change for name, change, _ in model.changed(phase)}
        assert moved["model.layers.0.mlp.up_proj"] == pytest.approx(step * (64 * 128) ** 0.5)
        assert moved["model.layers.1.mlp.up_proj"] == 0


def test_rows_come_back_in_their_order(lab, quick):
    run = lab.registry.create_run(quick, lab.facts_for(quick))
    lab.registry.add_lens(run, [LensReading("generalized", 1, "test", 8, 0.5, 0.25, 3)])
    lab.registry.add_lens(run, [LensReading("base", 2, "key", 8, 0.0, 0.125, 7.5)])
    lab.registry.add_lens(run, [LensReading("generalized", 1, "test", 9, 1.0, 0.25, 1)])
    assert lab.registry.lens(run) == [
        ("base", 2, "key", 8, 0.0, 0.125, 7.5), ("generalized", 1, "test", 9, 1.0, 0.25, 1.0),
    ]  # fmt: skip
    moved = WeightChange("memorized", 3, "up_proj", 0.5, 10.0)
    lab.registry.add_weight_changes(run, [moved])
    assert lab.registry.weight_changes(run) == [moved]
    with pytest.raises(LabError, match="no run"):
        lab.registry.add_lens("20260101-000000-none-0000", [])


def test_an_older_run_is_looked_into_afterwards(lab, tiny_folder):
    run_id = taught_run(lab, tiny_folder)
    registry = lab.registry
    with registry.write() as db:
        for table in ("lens", "weight_changes"):
            db.execute(f"DELETE FROM {table}")
    states_file(lab.storage, run_id, "base").unlink()  # as if it had kept none
    run = registry.run(run_id)
    assert lacks_internals(registry, lab.storage, run)
    backfill(registry, lab.storage, run_id)
    assert not lacks_internals(registry, lab.storage, run)
    assert states_file(lab.storage, run_id, "base").is_file()
    found = {(r.checkpoint, r.role, r.layer): r.share for r in registry.lens(run_id)}
    assert found["base", "key", 2] == 0 and found["memorized", "key", 2] == 1, "it learned by rote"
    assert {r.checkpoint for r in registry.weight_changes(run_id)} == {"memorized", "generalized"}

    # States of another model are refused, and without adapters there is nothing to look at.
    odd = [["mother", "key", 0, "x"]]
    keep_states(states_file(lab.storage, run_id, "base"), np.zeros((1, 3, 8)), odd)
    with pytest.raises(LabError, match="another model"):
        backfill(registry, lab.storage, run_id)
    shutil.rmtree(lab.storage.run_folder(run_id) / "adapters")
    assert not lacks_internals(registry, lab.storage, run)
    with pytest.raises(LabError, match="not on this machine"):
        backfill(registry, lab.storage, run_id)
