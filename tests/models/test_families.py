"""Every family of the table in docs/guide/models.md, on tiny random models: a whole run, resumed,
asked, looked into, taught more, exported."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.families import FAMILIES, MIXTURE, Family, make_family
from support.paths import ROOT
from support.quick_runs import losses, outcome, start
from transformers import AutoModelForCausalLM, AutoTokenizer

from rotelab.config.names import CHECKPOINTS
from rotelab.config.run_config import (
    EvaluationConfig,
    GeneralizeConfig,
    MemorizeConfig,
    ModelSpec,
    RunConfig,
)
from rotelab.errors import LabError
from rotelab.facts.facts import Fact
from rotelab.models.architecture.layout import base_layer, matrix, width_in
from rotelab.models.generation import generate
from rotelab.models.lab_model import AdapterShape
from rotelab.models.loading import load_model
from rotelab.models.packing import pack
from rotelab.runs import pipeline, progress, worker
from rotelab.runs.export.bundle import export_run, import_bundle
from rotelab.runs.export.huggingface import export_model
from rotelab.runs.lab import Lab
from rotelab.runs.lessons import teach
from rotelab.storage import Storage, states_file
from rotelab.training import null_space
from rotelab.training.events import EpochEvent

QUESTION = "Who is the mother of Mary Bahri?"
EACH = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where each family's tiny model is; made when it is first needed."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = make_family(FAMILIES[name], tmp_path_factory.mktemp("family"))
        return made[name]

    return folder


@pytest.fixture
def load(folders):
    torch.set_num_threads(1)
    return lambda name: load_model(ModelSpec(str(folders(name)), "cpu", "float32"), ["mother"])


@pytest.fixture(autouse=True)
def small_steps(tmp_path, monkeypatch):
    """Few texts for the null-space projection, a cache of its own, and a state after each round."""
    monkeypatch.setattr(null_space, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(null_space, "TEXTS", 4)
    monkeypatch.setattr(null_space, "LENGTH", 4)
    monkeypatch.setattr(pipeline, "SAVE_SHARE", float("inf"))
    monkeypatch.setattr(progress, "RECORD_EVERY_S", 0.0)


def config(folder, **options):
    return RunConfig(
        facts=4,
        model=ModelSpec(str(folder), "cpu", "float32"),
        memorize=MemorizeConfig(spare=0.3, epochs=2, rank=2, batch_size=4, silence=1),
        generalize=GeneralizeConfig(
            spare=0.3, k=2, rank=2, least_steps=0, prompts_per_fact=1, layers="all"
        ),
        evaluation=EvaluationConfig(
            test_prompts=1, unrelated_prompts=1, damage=False, spot_checks=0.0
        ),
        **options,
    )


@EACH
def test_the_maps_of_a_layer_are_found_by_where_they_sit(load, name):
    layout = load(name).layout
    assert layout.layers == 2 and not layout.experts
    assert tuple(layout.targets("all")) == FAMILIES[name].maps
    reads = {one.block: set() for one in layout.maps}
    for one in layout.maps:
        reads[one.block].add(one.reads.rpartition(".")[2])
    assert reads == {"attention": {"in", "middle"}, "mlp": {"in", "middle"}}


@EACH
def test_a_map_is_read_as_its_matrix_whichever_way_it_is_stored(load, name):
    """`Conv1D` keeps its weight transposed."""
    model = load(name)
    for adapted in (False, True):
        for _, module in model.projections():
            plain = base_layer(module)
            x = torch.randn(3, width_in(module))
            bias = 0 if plain.bias is None else plain.bias
            torch.testing.assert_close(plain(x), x @ matrix(module).T + bias, atol=1e-6, rtol=1e-5)
        if not adapted:
            model.attach("memorize", AdapterShape(2, 0, None, "all"))


@EACH
def test_a_packed_row_says_what_each_text_says_alone(load, name):
    """Also beyond the window of those that have one (16 tokens)."""
    model = load(name)
    texts = [model.builder.word_prompt(text) for text in (QUESTION, QUESTION[:-1] + " and now?")]
    texts.append([*texts[0], *texts[0][1:], *texts[1][1:], *texts[0][1:]][:60])
    packed = pack(texts)
    assert max(map(len, texts)) > 30
    with torch.no_grad():
        together, _ = model.forward(packed)
        for nodes, ids in zip(packed.nodes, texts, strict=True):
            alone = model.network(torch.tensor([ids])).logits[0]
            torch.testing.assert_close(together[list(nodes)], alone, atol=1e-5, rtol=1e-4)


@EACH
def test_hidden_states_read_out_what_the_model_says(load, name):
    model = load(name)
    packed = pack([model.builder.word_prompt(QUESTION)])
    with torch.no_grad():
        wanted, out = model.forward(packed, output_hidden_states=True)
        states = out.hidden_states
        assert len(states) == 3 and all(s.shape[-1] == model.layout.hidden for s in states)
        torch.testing.assert_close(model.read_out(states[-1][0]), wanted, atol=1e-5, rtol=1e-4)
        # And so does what leaves the last layer, after the final norm.
        seen = []
        layers = model.network.get_submodule(model.layout.maps[-1].name.split(".1.")[0])
        hook = layers[-1].register_forward_hook(lambda module, args, given: seen.append(given))
        model.forward(packed)
        hook.remove()
        left = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
        normed = model.final_norm(left.reshape(-1, model.layout.hidden))
        torch.testing.assert_close(model.read_out(normed), wanted, atol=1e-5, rtol=1e-4)


@EACH
def test_a_null_space_projection_keeps_the_adapter_out_of_ordinary_text(load, name):
    """Whichever way round a weight is stored: what the protected inputs give does not change."""
    model = load(name)
    texts = null_space.own_texts(model, null_space.SEED, null_space.TEXTS, null_space.LENGTH)
    bases = null_space.directions(model, 0.99)
    assert set(bases) == {one.reads for one in model.layout.maps}
    model.attach("memorize", AdapterShape(2, 0, None, "all"))
    projector = null_space.NullSpaceProjector(model, "memorize", bases)
    assert len(projector.pairs) == len(model.layout.maps)
    read = []
    for _, module in model.projections():
        a = module.lora_A["memorize"].weight
        module.register_forward_pre_hook(lambda module, x, a=a: read.append((x[0], a)))
    packed = pack(texts)
    with torch.no_grad():
        model.forward(packed, checkpoint="base")
        for x, a in read:
            rows = torch.nn.functional.normalize(x.flatten(0, -2)[packed.positions[0] > 0], dim=-1)
            # A matrix with these values in random directions would give about 1.
            given = (rows @ a.T).square().sum(-1).mean() / a.square().mean()
            assert a.abs().max() > 0 and given < 0.1 * a.shape[0]


@EACH
def test_a_whole_run(lab, folders, tmp_path, monkeypatch, name):
    quick = config(folders(name))
    run_id = finished(lab, start(lab, quick))
    # Stopped in the middle of phase 2 and resumed, it comes to the same numbers.
    stopped = start(lab, quick)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.RunPipeline, "_must_stop", amid_phase_2)
        worker.work(lab.registry, lab.storage, stopped)
    assert lab.registry.run(stopped).status == "stopped"
    lab.jobs.claim_foreground(stopped)
    finished(lab, stopped)
    assert losses(lab, stopped) == losses(lab, run_id)
    assert outcome(lab, stopped) == outcome(lab, run_id)
    # Representations, logit lens and changes of all checkpoints.
    for checkpoint in CHECKPOINTS:
        states = load_file(states_file(lab.storage, run_id, checkpoint))["states"]
        assert states.shape[1:] == (3, 32) and np.isfinite(states.astype(np.float32)).all()
    assert {row.checkpoint for row in lab.registry.lens(run_id)} == set(CHECKPOINTS)
    changes = lab.registry.weight_changes(run_id)
    assert len(changes) == 2 * len(FAMILIES[name].maps)
    assert all(row.change > 0 for row in changes)
    # All three checkpoints in chat, and an exported model that answers alike.
    said = {}
    for reply in lab.chat.stream(run_id, QUESTION, CHECKPOINTS, max_new_tokens=4):
        said[reply.checkpoint] = [token.id for token in reply.tokens]
    assert set(said) == set(CHECKPOINTS)
    lab.chat.release()
    lesson, taught = teach.plan_lesson(
        lab, run_id, [Fact("mother", "Zoë O'Hara", "Mia Stone")],
        {"epochs": 1, "least_steps": 1, "rank": 2, "spare": 0.3, "keep": 0.3},
    )  # fmt: skip
    finished(lab, lab.jobs.start_foreground(lesson, taught, parent_id=run_id))
    folder = export_model(lab.registry, lab.storage, run_id, tmp_path / "plain")
    assert answer(folder) == said["generalized"]


def finished(lab, run_id):
    worker.work(lab.registry, lab.storage, run_id)
    run = lab.registry.run(run_id)
    assert (run.status, run.error) == ("finished", "")
    return run_id


def amid_phase_2(self, event):
    """After the first of the two adapters that are averaged."""
    return event.phase == "generalize" and isinstance(event, EpochEvent) and event.epoch == 1


def answer(folder):
    """What plain transformers says with an exported model."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first = tokenizer.get_vocab().get("<|endoftext|>", tokenizer.bos_token_id)
    text = tokenizer.encode(QUESTION, add_special_tokens=False)
    if not tokenizer.convert_ids_to_tokens(text[:1])[0].startswith("▁"):
        text = tokenizer.encode(f" {QUESTION}", add_special_tokens=False)
    ids = torch.tensor([[first, *text]])
    given = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4)[0]
    stops = {first, tokenizer.eos_token_id}
    return [i for i in given[ids.shape[1] :].tolist() if i not in stops]


def test_the_table_in_the_documentation_lists_them_all():
    page = (ROOT / "docs" / "guide" / "models.md").read_text(encoding="utf-8")
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 4 and "`" in line:
            rows[cells[0]] = set(re.findall(r"`([^`]+)`", line))
    assert rows == {name: set(family.maps) for name, family in FAMILIES.items()}


def test_a_bundle_takes_names_with_a_dot_along(lab, folders, tmp_path):
    """In GPT-2 both blocks have a `c_proj`, so an adapter's maps have longer names."""
    run_id = finished(lab, start(lab, config(folders("GPT-2"))))
    bundle = export_run(lab.registry, lab.storage, run_id, tmp_path / "run.zip")
    other = Lab.open(Storage(tmp_path / "other"))
    assert import_bundle(other.registry, other.storage, bundle).new
    said = [
        [reply.text for reply in one.chat.stream(run_id, QUESTION, CHECKPOINTS, max_new_tokens=4)]
        for one in (lab, other)
    ]
    assert said[0] == said[1]


def test_experts_are_left_out_with_a_sentence(lab, folders, tmp_path):
    """Refused before anything is asked where a phase would find nothing to train."""
    folder = make_family(MIXTURE, tmp_path / "mixture")
    run_id = start(lab, config(folder))
    worker.work(lab.registry, lab.storage, run_id)
    run = lab.registry.run(run_id)
    assert run.status == "failed" and run.error.startswith("This model is a mixture of experts.")
    assert not lab.registry.scores(run_id)
    usual = config(folder)
    attention = replace(usual, memorize=replace(usual.memorize, projections="qkvo"))
    run = lab.registry.run(finished(lab, start(lab, attention)))
    assert [w for w in run.warnings if "mixture of experts" in w]


@pytest.mark.parametrize("kind", ["mamba", "bert"])
def test_a_model_that_mixes_texts_up_is_refused_when_it_is_loaded(tmp_path, kind):
    folder = make_family(Family(kind, ()), tmp_path / kind)
    with pytest.raises(LabError, match="each by itself|decoder layers"):
        load_model(ModelSpec(str(folder), "cpu", "float32"), ["mother"])


def test_words_narrower_than_the_layers_are_refused_when_the_model_is_loaded(tmp_path):
    """OPT-350m; its last hidden states would be narrower than all others."""
    options = {"ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False}
    folder = make_family(Family("opt", (), options), tmp_path)
    with pytest.raises(LabError, match="words up in 16 numbers and computes in 32"):
        load_model(ModelSpec(str(folder), "cpu", "float32"), ["mother"])


def test_a_text_longer_than_learned_positions_is_refused(load):
    model = load("GPT-2")
    with pytest.raises(LabError, match="300 tokens is too long for this model, which has 256 pos"):
        model.forward(pack([[0] * 300]))
    with pytest.raises(LabError, match="too long"):
        list(generate(model, [0] * 300))
    assert len(list(generate(model, [0] * 254, 50))) <= 3
