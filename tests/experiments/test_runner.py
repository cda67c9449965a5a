"""Experiments: found by listing their folder, shared and resumable arms, stored results, the three
that measure languages, depth and damage."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from support.command_line import rotelab
from support.fabricated import finished, queued
from support.taught import K, taught_pack, taught_run

from rotelab.cli.experiments import print_experiment
from rotelab.config.option_paths import with_setting
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError, UnknownRun
from rotelab.evaluation import forgetting
from rotelab.evaluation.results import QuizAnswer
from rotelab.experiments import experiment, experiments, runner
from rotelab.experiments.depth import EPOCHS, Depth
from rotelab.experiments.languages import NAMES
from rotelab.experiments.runner import begin, carry_out, result_of, running
from rotelab.facts.packs import language_prompts, load_pack, shipped_packs
from rotelab.facts.prompts import SLOT
from rotelab.models.lab_model import AdapterShape
from rotelab.runs.lab import Lab
from rotelab.storage import Storage, adapter_folder


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    """A lab with one really trained tiny run."""
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


# The frame ---------------------------------------------------------------------------------------


def test_one_file_is_an_experiment_and_its_result_comes_back(lab, one_more):
    run_id = finished(lab)
    seen = []
    experiment_id = begin(lab, "head-count", run_id)
    assert lab.registry.experiment_row(experiment_id).status == "running"
    carry_out(lab, experiment_id, lambda share, words: seen.append((share, words)))
    assert (0.5, "counting") in seen
    row = lab.registry.experiment_row(experiment_id)
    assert (row.status, row.share, row.run_id, row.arms) == (
        "finished", 1.0, run_id, (("", run_id),),
    )  # fmt: skip
    found = result_of(row)
    assert found.facts == 20 and found.shares[0] == 0.5 and math.isnan(found.shares[1])
    said = rotelab("experiments", home=lab.storage.home).out
    assert "head-count" in said and experiment_id in said
    lab.registry.delete_run(run_id)  # what was found out about it goes with it
    with pytest.raises(UnknownRun):
        lab.registry.experiment_row(experiment_id)


def test_listing_experiments_imports_no_torch_and_each_says_what_it_is():
    code = "from rotelab.experiments import experiments; import sys; experiments(); print("
    code += "[m in sys.modules for m in ('torch', 'gradio')])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.split() == ["[False,", "False]"], ended.stderr
    assert {"languages", "depth", "damage"} <= set(experiments())
    for one in experiments().values():
        assert one.question.endswith("?") and all((one.title, one.needs, one.reading))
    with pytest.raises(LabError, match=r"no experiment 'x'.*depth"):
        experiment("x")


def test_what_can_not_be_measured_is_refused_or_ends_as_a_sentence(lab, one_more, monkeypatch):
    done = finished(lab)
    waits = queued(lab)
    with pytest.raises(LabError, match=r"is queued. An experiment needs a finished one"):
        begin(lab, "head-count", waits)
    lost = begin(lab, "languages", done)  # its adapters are no adapters
    carry_out(lab, lost)
    row = lab.registry.experiment_row(lost)
    assert row.status == "failed" and "adapter" in row.error and result_of(row) is None
    broken = replace(experiment("head-count"), probe=lambda finished: 1 / 0)
    monkeypatch.setattr(runner, "experiment", lambda name: broken)
    fault = begin(lab, "head-count", done)
    carry_out(lab, fault)
    assert "ZeroDivisionError" in lab.registry.experiment_row(fault).error
    older = begin(lab, "head-count", done)
    lab.registry.end_experiment(older, "finished", result={"facts": 1})
    with pytest.raises(LabError, match="damaged"):
        result_of(lab.registry.experiment_row(older))
    monkeypatch.setattr(runner, "experiment", lambda name: replace(broken, version=2))
    with pytest.raises(LabError, match="version 1 of “Head count”"):
        result_of(lab.registry.experiment_row(older))


def test_a_dead_process_is_noticed_and_an_end_is_believed_once(lab, one_more):
    experiment_id = begin(lab, "head-count", finished(lab))
    assert [row.id for row in running(lab)] == [experiment_id]  # its process is not known yet
    with pytest.raises(LabError, match="already running"):
        runner.start(lab, "head-count", lab.registry.runs()[0].id)
    lab.registry.update_experiment(experiment_id, pid=2**22 + 1, pid_started=1.0)
    assert running(lab) == []
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "interrupted" and row.error == runner.LOST
    assert not lab.registry.end_experiment(experiment_id, "finished", result={})
    assert lab.registry.experiment_row(experiment_id).status == "interrupted"
    assert lab.registry.resolve_experiment("exp-latest") == experiment_id
    with pytest.raises(UnknownRun, match="no experiment"):
        lab.registry.resolve_experiment("exp-none")


# A family ----------------------------------------------------------------------------------------


def test_a_family_uses_the_runs_that_are_there_and_plans_the_others(lab, monkeypatch):
    base = lab.registry.run(finished(lab, "ten")).config
    lab.registry.save_fact_set("mother", lab.registry.run(lab.registry.resolve("latest")).pack)
    other = finished(lab, "other k", seed=5)
    have = {
        epochs: finished(lab, memorize=replace(base.memorize, epochs=epochs)) for epochs in (3, 10)
    }
    first = begin(lab, "depth", config=base)
    row = lab.registry.experiment_row(first)
    ids = dict(row.arms)
    assert list(ids)[: len(EPOCHS)] == [str(n) for n in EPOCHS]
    assert "10, learning rate 0.001" in ids and "40, learning rate 0.004" in ids
    assert [ids["3"], ids["10"]] == [have[3], have[10]] and other not in ids.values()
    planned = lab.registry.sweep_runs(row.sweep_id)
    # 20 is the base's own.
    assert [run.config.memorize.epochs for run in planned] == [1, 6, 40, 100, 10, 40, 10, 40]
    assert lab.registry.sweep(row.sweep_id).axes == {
        "memorize.epochs": [1, 6, 40, 100, 10], "memorize.learning_rate": [0.002, 0.001, 0.004],
    }  # fmt: skip
    again = lab.registry.experiment_row(begin(lab, "depth", config=base))
    assert again.arms == row.arms and again.sweep_id is None, "what was planned is gone on with"

    def make(lab, sweep_id, watch):
        assert sweep_id == row.sweep_id
        watch(1, 3, 0.5, "learning")
        return False  # Ctrl-C

    monkeypatch.setattr(runner, "run_sweep", make)
    carry_out(lab, again.id)
    row = lab.registry.experiment_row(again.id)
    assert row.status == "stopped" and row.error == ""


def test_depth_reads_the_scores_of_its_arms(lab, monkeypatch):
    monkeypatch.setattr("rotelab.experiments.depth.EPOCHS", (6, 3))
    monkeypatch.setattr("rotelab.experiments.depth.OTHER_RATES", {2.0: (6,)})
    rote = RunConfig().memorize
    faster = finished(lab, memorize=replace(rote, epochs=6, learning_rate=2 * rote.learning_rate))
    for epochs in (3, 6):
        run = finished(lab, memorize=replace(rote, epochs=epochs))
    base = lab.registry.run(run).config
    lab.registry.save_fact_set("mother", lab.registry.run(run).pack)
    experiment_id = begin(lab, "depth", config=base)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    found = result_of(row)
    assert isinstance(found, Depth) and found.k == 10
    assert [(r.rate, r.epochs) for r in found.rows] == [(1, 3), (1, 6), (2, 6)]
    damage_of = lab.registry.damage(faster)
    assert found.rows[2].quiz == damage_of["generalized"].quiz
    assert found.rows[2].quiz_rote == damage_of["memorized"].quiz != found.rows[2].quiz
    assert found.base_perplexity == damage_of["base"].perplexity
    assert found.tables()[0].rows[2][:2] == (6, "0.004")
    scores = lab.registry.scores(run)
    assert found.rows[1].test == scores["generalized"]["test_prompts_heldout"].generation_accuracy
    assert found.rows[1].before == scores["memorized"]["test_prompts_heldout"].generation_accuracy
    assert found.figure().data[0].x == (3, 6)


def test_a_run_without_its_adapters_is_not_asked_but_made_again(lab):
    bare = finished(lab)
    base = lab.registry.run(bare).config
    lab.registry.save_fact_set("mother", lab.registry.run(bare).pack)

    def arm(name: str) -> str:
        ((_, run_id),) = lab.registry.experiment_row(begin(lab, name, config=base)).arms
        return run_id

    assert arm("damage") == bare
    (adapter_folder(lab.storage, bare, "generalized") / "meta.json").unlink()
    planned = arm("damage")
    assert planned != bare and lab.registry.run(planned).status == "queued"
    assert arm("damage") == planned


def test_depth_takes_a_run_without_adapters(lab, monkeypatch):
    monkeypatch.setattr("rotelab.experiments.depth.EPOCHS", (6,))
    monkeypatch.setattr("rotelab.experiments.depth.OTHER_RATES", {})
    run = finished(lab, memorize=replace(RunConfig().memorize, epochs=6))
    lab.registry.save_fact_set("mother", lab.registry.run(run).pack)
    (adapter_folder(lab.storage, run, "memorized") / "meta.json").unlink()
    begun = begin(lab, "depth", config=lab.registry.run(run).config)
    assert [run_id for _, run_id in lab.registry.experiment_row(begun).arms] == [run]


def test_a_family_is_made_for_real_and_goes_on_where_it_was(lab, quick, monkeypatch):
    monkeypatch.setattr("rotelab.experiments.depth.EPOCHS", (1, 2))
    monkeypatch.setattr("rotelab.experiments.depth.OTHER_RATES", {})
    base = replace(quick, facts=6, generalize=replace(quick.generalize, k=3))
    run_sweep, experimenting_words = runner.run_sweep, []
    monkeypatch.setattr(runner, "run_sweep", lambda *args: False)  # ended before the first run
    first = begin(lab, "depth", config=base)
    carry_out(lab, first)
    assert lab.registry.experiment_row(first).status == "stopped"
    monkeypatch.setattr(runner, "run_sweep", run_sweep)
    second = begin(lab, "depth", config=base)
    carry_out(lab, second, lambda share, words: experimenting_words.append(words))
    row = lab.registry.experiment_row(second)
    assert row.status == "finished", row.error
    assert row.arms == lab.registry.experiment_row(first).arms and lab.registry.count_runs() == 2
    assert any(words.startswith("run 2 of 2: ") for words in experimenting_words)
    found = result_of(row)
    assert [r.epochs for r in found.rows] == [1, 2] and all(r.n > 0 for r in found.rows)
    assert all(0 <= r.key <= 1 and 0 <= r.before <= 1 for r in found.rows)


# Languages ---------------------------------------------------------------------------------------


def test_the_wordings_of_other_languages_are_whole_and_no_run_carries_them():
    relations = [name for name in shipped_packs() if name != "five"]
    assert len(relations) == 5
    for name in relations:
        prompts = language_prompts(name)
        for code in ("de", "es", "ja", "zh"):
            mine = [t.text for t in prompts if t.language == code]
            assert len(set(mine)) == 10, (name, code)
        assert {(t.relation, t.role) for t in prompts} == {(name, "test")}
        for t in prompts:
            # Latin names keep their blanks, or they would be other tokens than those learned.
            before, after = t.text.split(SLOT)
            assert not before or before[-1] in " ¿", t.text
            assert t.language in ("de", "es") or not after or after[0] == " ", t.text
        own = load_pack(name)
        assert not {t.text for t in own.prompts} & {t.text for t in prompts}
        assert {t.language for t in own.prompts} == {"en"}
    assert language_prompts("none") == ()


def test_languages_asks_the_same_facts_in_all_of_them(taught):
    lab, run_id = taught
    said = rotelab("experiment", "languages", "--run", run_id, "--json", home=lab.storage.home)
    assert said.code == 0, said.err
    said = json.loads(said.out)
    rows = said["result"]["rows"]
    held_out = len(taught_pack().facts) - K
    assert {r["language"] for r in rows} == set(NAMES)
    assert {(r["facts"], r["n"]) for r in rows} == {(held_out, 10 * held_out)}
    assert all(r["accuracy"] == 0 for r in rows if r["checkpoint"] == "base")
    found = result_of(lab.registry.experiment_row(said["id"]))
    assert len(found.figure().data) == 3
    again = rotelab("report", "exp-latest", "--markdown", home=lab.storage.home)
    assert again.code == 0 and "| German" in again.out and "Chinese (published" in again.out


# Damage ------------------------------------------------------------------------------------------


def test_damage_counts_what_the_base_model_loses(taught, monkeypatch):
    lab, run_id = taught
    prose, asked, neutral = forgetting.texts()
    assert 500 < sum(len(p.split()) for p in prose) < 700 and len(prose) == 6
    assert len(asked) > 50 and len(neutral) == 40
    assert len({prompt for prompt, _ in asked}) == len(asked)
    few = (prose[:1], asked[:4], neutral[:3])
    monkeypatch.setattr(forgetting, "texts", lambda: few)
    # The tiny model knows nothing; so that something can be lost, the base is made to know two.
    told = iter([[True, True, False, False], [True] * 4, [False, True, True, False]])

    def answered(model, asked):
        return [
            QuizAnswer(model.checkpoint, i, *question, "?", right)
            for i, (question, right) in enumerate(zip(asked, next(told), strict=True))
        ]

    monkeypatch.setattr(forgetting, "answered", answered)
    experiment_id = begin(lab, "damage", run_id)
    carry_out(lab, experiment_id)
    found = result_of(lab.registry.experiment_row(experiment_id))
    base, memorized, generalized = found.rows
    assert (base.quiz, memorized.quiz, generalized.quiz) == (0.5, 1.0, 0.5)
    assert found.lost == (asked[0][0],) and found.questions == 4
    assert base.divergence == pytest.approx(0, abs=1e-6)
    assert memorized.divergence > 0.01 and generalized.divergence > 0.01
    assert base.perplexity > 1 and base.perplexity != memorized.perplexity
    assert len(found.figure().data) == 3 and "n = 4" in found.tables()[0].columns[2]


def test_perplexity_and_divergence_are_what_one_pass_at_a_time_gives(tiny):
    import torch

    texts = ["The sea is wide", "The sea is deep and dark"]
    tiny.attach("memorize", AdapterShape(4, 0))
    with torch.no_grad():
        for name, tensor in tiny.tensors("memorize").items():
            if "lora_B" in name:
                tensor.fill_(0.05)
    tiny.use("memorized")
    nats, kl, count = 0.0, 0.0, 0
    for text in texts:
        from rotelab.models.packing import pack

        whole = pack([tiny.builder.word_prompt(text)])
        with torch.inference_mode():
            ours = tiny.forward(whole)[0].float().log_softmax(-1)
            base = tiny.forward(whole, checkpoint="base")[0].float().log_softmax(-1)
        ids = whole.ids[0]
        nats -= float(ours[:-1].gather(1, ids[1:, None]).sum())
        kl += float((base.exp() * (base - ours)).sum(-1)[1:].sum())
        count += len(ids) - 1
    perplexity, tokens = forgetting.perplexity_of(tiny, texts)
    assert tokens == count and perplexity == pytest.approx(math.exp(nats / count), rel=1e-4)
    # What two prompts begin with alike is one place, looked at once.
    alone = [forgetting.divergence_of(tiny, [text]) for text in texts]
    assert sum(n for _, n in alone) == count
    assert sum(mean * n for mean, n in alone) == pytest.approx(kl, rel=1e-3)
    assert forgetting.divergence_of(tiny, texts)[1] < count


def test_a_setting_beside_a_run_is_refused(lab):
    run_id = finished(lab)
    home = lab.storage.home
    said = rotelab("experiment", "depth", "--run", run_id, "--k", "3", home=home)
    assert said.code == 2 and "give no others with it" in said.err
    assert with_setting(RunConfig(), "generalize.k=3") != RunConfig()


def test_seeds_are_summed_up_by_report(lab, one_more):
    first, second = (begin(lab, "head-count", finished(lab, seed=seed)) for seed in (0, 1))
    with pytest.raises(LabError, match="has no result"):
        print_experiment(lab, first, False, False, [second])
    for experiment_id in (first, second):
        carry_out(lab, experiment_id)
    said = rotelab("report", first, second, "--markdown", home=lab.storage.home)
    assert "over seeds 0, 1" in said.out and "20" in said.out, said.err
    refused = rotelab("report", first, first, home=lab.storage.home)
    assert refused.code == 2 and "with different seeds" in refused.err
    runs = rotelab("report", "latest", "latest", home=lab.storage.home)
    assert runs.code == 2 and "Only experiments can be averaged" in runs.err
