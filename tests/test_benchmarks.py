"""The benchmarks run on a tiny model and report what their docstrings promise."""

import json

import pytest
import torch
from support.taught import taught_run
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import (
    chat,
    first_minute,
    kill_storm,
    load,
    many_runs,
    opening,
    page_cost,
    registry,
    run,
    run_parts,
    scoring,
    training,
    two_runs,
)
from rotelab.config.run_config import MemorizeConfig, ModelSpec
from rotelab.errors import LabError
from rotelab.evaluation.results import PROBES
from rotelab.facts.packs import load_pack
from rotelab.models.cores import own_cores
from rotelab.models.lab_model import AdapterShape
from rotelab.models.loading import pick_dtype
from rotelab.models.packing import pack
from rotelab.registry import Metric
from rotelab.runs import worker
from rotelab.runs.lab import Lab


@pytest.fixture
def run_id(own_home, tiny_folder):
    return taught_run(Lab.open(), tiny_folder)


def test_scoring_agrees_with_plain_code_and_ends_with_json(run_id, capsys):
    torch.set_num_threads(1)
    scoring.main(["--facts", "4", "--candidates", "9", "--json"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["run_id"], report["facts"], report["candidates"]) == (run_id, 4, 9)
    assert report["identical_verdicts"] is report["sums_agree"] is True
    assert report["speedup"] == report["generalized"]["speedup"] > 0
    for checkpoint in ("base", "generalized"):
        found = report[checkpoint]
        assert 0 <= found["largest_difference"] < 1e-3
        assert found["naive_seconds"] > 0 and found["distribution_seconds"] > 0
    # The merged network really is the generalised model, and the other one is not.
    assert (
        report["base"]["normalized_probability"] != report["generalized"]["normalized_probability"]
    )


def test_scoring_notices_other_verdicts_and_other_sums(run_id, monkeypatch):
    real = scoring._one_by_one
    words = ["--facts", "3", "--candidates", "9", "--checkpoints", "generalized"]

    def backwards(network, example, candidates):
        return [-total for total in real(network, example, candidates)]

    monkeypatch.setattr(scoring, "_one_by_one", backwards)
    report = scoring.main(words)
    assert not report["sums_agree"]

    def gold_wins(network, example, candidates):
        return [0.0 if tokens == example.object else -9.0 for tokens in candidates]

    monkeypatch.setattr(scoring, "_one_by_one", gold_wins)
    assert not scoring.main(words)["identical_verdicts"]


def test_scoring_needs_a_finished_run(own_home):
    with pytest.raises(LabError, match="no finished run here.* Make one first"):
        scoring.main([])
    with pytest.raises(LabError):
        scoring.main(["--candidates", "1"])


def test_chat_is_measured_beside_plain_code_that_says_the_same(run_id, capsys):
    torch.set_num_threads(1)
    report = chat.main(["--questions", "2", "--tokens", "4", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report
    assert report["same_tokens"] and report["questions"] == 2
    assert all(0 < t["first"] <= t["all"] for t in report["seconds"].values())


def test_training_is_measured_beside_the_stock_trainer(tiny_folder, capsys):
    torch.set_num_threads(1)
    words = ["--model", str(tiny_folder), "--facts", "20", "--epochs", "2", "--bf16-steps", "1"]
    training.main([*words, "--json"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["facts"], report["epochs"]) == (20, 2)
    programs = report["programs"]
    able = pick_dtype("auto", torch.device("cpu")) == torch.bfloat16
    half = ["ours bf16"] if able else []
    expected = ["ours fp32", *half, "Trainer fp32", "Trainer bf16", "ours, as shipped"]
    assert list(programs) == expected
    assert all(p["tokens_per_second"] > 0 and p["share_of_peak"] > 0 for p in programs.values())
    assert report["speedup"] > 0 and report["matmul_gflops"]["float32"] > 0
    assert len(programs["ours fp32"]["recall"]) == len(programs["Trainer fp32"]["recall"]) == 2


def test_the_stock_trainer_learns_what_ours_learns(tiny_folder, monkeypatch):
    """The same sentences in the same order give the same weights, except for rounding."""
    torch.set_num_threads(1)
    trained = []
    real = training._load
    monkeypatch.setattr(training, "_load", lambda *a: trained.append(real(*a)) or trained[-1])
    facts = load_pack("mother").facts.take(20, 0)
    config = MemorizeConfig(spare=0, epochs=2, rank=4, silence=0)
    spec = ModelSpec(str(tiny_folder), "cpu", "float32")
    training._ours(spec, facts, config)
    training._stock(spec, facts, config, bf16=False, limit=0)
    ours, stock = (model.tensors("memorize") for model in trained)
    moved = 0.0
    for name, tensor in ours.items():
        # As a whole: AdamW's first steps make much of a single weight's rounding.
        apart = float((tensor - stock[name]).detach().norm() / tensor.detach().norm())
        assert apart < 0.05, (name, apart)
        moved += float(tensor.detach().abs().sum()) if "lora_B" in name else 0.0
    assert moved > 0


def test_the_registry_benchmark_counts_what_it_built(own_home, capsys):
    registry.main(["--runs", "4", "--rows", "1000", "--polls", "2", "--every", "0", "--json"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["runs"] == 4 and report["metric_rows"] >= 1000
    assert report["poll_ms_p95"] > 0 and report["table_s"] > 0


def test_the_benchmark_of_many_runs_counts_what_it_built(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(many_runs, "COMMAND_LINES", (("runs",),))
    monkeypatch.setattr(many_runs, "COMMANDS", 1)
    words = ["--runs", "50", "--rows", "2000", "--calls", "1", "--home", str(tmp_path / "many")]
    many_runs.main([*words, "--json"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["runs"] == 51 and report["metric_rows"] > 2000, "and the recorded run's"
    assert report["poll_ms_p95"] > 0 and report["table_s"] > 0
    assert {figure["calls"] for figure in report["figures"].values()} == {1}
    assert report["figures"]["Runs: searched"]["plain_ms"] > 0


def test_two_kills_are_survived(capsys):
    kill_storm.main(["--n", "2", "--seed", "3", "--json"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["n"], report["passed"]) == (2, 2), report["failures"]


def test_the_storm_notices_a_lost_row(tmp_path, monkeypatch):
    storm = kill_storm.Storm(tmp_path / "home", tmp_path, 0)
    run_id = storm.enqueue()
    storm.registry.set_status(run_id, "running")
    storm.registry.add_metrics(run_id, [Metric("memorize", 1, "loss", 0.5, 1)])
    assert storm._intact(run_id, {("memorize", "loss", 1): 0.5}) == []
    assert "lost or changed" in storm._intact(run_id, {("memorize", "loss", 2): 0.5})[0]
    assert "lost or changed" in storm._intact(run_id, {("memorize", "loss", 1): 0.6})[0]
    assert not storm._true(run_id)  # it says `running`, and no process is


def test_a_few_clients_lose_nothing(capsys):
    report = load.main(["--clients", "4", "--minutes", "0.25", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report
    assert report["first_errors"] == [] and report["locked"] == report["lost_writes"] == 0
    assert report["requests"] > 10 and report["training_steps"] > 0
    assert report["ask_p95_ms"] > 0, "somebody asked, too"


def test_the_pages_cost_is_told_with_its_spread():
    found = page_cost.compare([(10.0, 10.2), (10.0, 10.4), (10.0, 10.3)])
    assert found["cost_percent"] == pytest.approx(3.0)
    assert found["spread_percent"] == pytest.approx([2.0, 4.0])
    assert page_cost.compare([(10.0, 9.9)])["cost_percent"] == pytest.approx(-1.0)


def test_own_names_are_taught_timed_and_asked(own_home, tiny_folder, quick, monkeypatch, capsys):
    lab = Lab.open()
    run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
    worker.work(lab.registry, lab.storage, run_id)
    monkeypatch.setattr(first_minute, "Storage", lambda folder: lab.storage)
    monkeypatch.setattr(first_minute.demo, "open_run", lambda lab: (run_id, False))
    monkeypatch.setattr(first_minute, "OPTIONS", {"epochs": 1, "least_steps": 1, "rank": 4})
    report = first_minute.main(["--tries", "1", "--no-walk", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report
    (told,) = report["own"]
    assert report["walk_s"] is None and 0 < told["seconds"] == report["worst_seconds"]
    assert 0 <= told["answered"] == report["worst_answered"] <= 1
    assert 0 <= told["unrelated"] <= 1
    assert len({name for pair in told["names"] for name in pair}) == 8
    for number in range(20):
        mothers = [fact.object for fact in first_minute.drawn_facts(number, ())]
        assert all(name.startswith(first_minute.WOMEN) for name in mothers)


@pytest.mark.browser
def test_opening_a_run_is_timed_beside_computing_it_anew(own_home, quick, capsys):
    lab = Lab.open()
    run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
    worker.work(lab.registry, lab.storage, run_id)
    there = lab.registry.runs()
    report = opening.main(["--tries", "1", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == report
    assert report["run"] == run_id and report["computed_s"] > 0
    told = set(opening.OPENINGS) - {opening.ANOTHER}  # there is one run only
    assert all(0 < report[name]["first_s"] < 60 for name in told)
    assert lab.registry.runs() == there, "the lab itself is left alone"


def test_two_jobs_share_the_cores(tiny_folder, capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    about = ["--model", str(tiny_folder), "--seconds", "4", "--facts", "4", "--json"]
    two_runs.main([*about, "--cases", "two, shared"])
    (report,) = json.loads(capsys.readouterr().out.splitlines()[-1]).values()
    assert report["together"] == pytest.approx(sum(report["each"])) and min(report["each"]) > 0
    share = max(1, len(own_cores()) // 2)
    assert all(1 <= threads <= share for threads in report["threads"])


def test_a_whole_run_is_measured_part_by_part(tiny_folder, capsys):
    torch.set_num_threads(1)
    words = ["--model", str(tiny_folder), "--facts", "8", "--k", "4", "--epochs", "2"]
    short = ["generalize.least_steps=0", "memorize.spare=0", "generalize.spare=0"]
    report = run.main([*words, *(w for s in short for w in ("--set", s)), "--json"])
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1]) == report
    parts = report["parts"]
    probes = [f"evaluation: {probe}" for probe in PROBES]
    assert set(probes) | {"load", "phase 1", "phase 2", "damage", "representations"} < set(parts)
    assert all(part in printed for part in parts)
    whole = parts.pop("all")
    for figure in ("wall", "cpu", "tokens", "flop"):
        assert sum(p[figure] for p in parts.values()) == pytest.approx(whole[figure])
    assert all(parts[name]["flop"] > 0 for name in (*probes, "phase 1", "phase 2", "damage"))
    assert parts["load"]["flop"] == 0 < parts["load"]["wall"]
    assert report["peak_gflops"] > 0 and report["memory_mb"] > 100


def test_a_steps_operations_are_those_that_torch_counts(tiny):
    packed = pack([(0, 5, 9, 11, 13), (0, 5, 7)])
    for checkpoint, adapter in (("memorized", "memorize"), ("generalized", "generalize")):
        tiny.attach(adapter, AdapterShape(4, 0, None if adapter == "memorize" else [1]))
        tiny.use(checkpoint, train=True)
        work = run_parts.Work(tiny)
        with FlopCounterMode(display=False) as counted:
            logits, _ = tiny.forward(packed, torch.tensor([1, 3]))
            logits.sum().backward()
        nodes = packed.ids.shape[1]
        # Ours counts the inputs' gradients of the lowest trained matrices too, which nobody needs.
        ours = work.of(tiny, nodes, nodes, 2, base=False)
        assert ours == pytest.approx(counted.get_total_flops(), rel=0.15)
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            tiny.forward(packed, torch.tensor([1, 3]), checkpoint="base")
        attention = 4 * nodes**2 * work.hidden * tiny.layers  # torch doesn't count it on a CPU
        base = work.of(tiny, nodes, nodes, 2, base=True)
        assert base == counted.get_total_flops() + attention


def test_runs_of_two_checkouts_are_compared_pair_by_pair():
    def made(*cpu):
        return [{"parts": {"phase 1": {"cpu": s}, "load": {"cpu": 0.01}}} for s in cpu]

    found = run.ratios(made(1.0, 2.0, 3.3), made(2.0, 2.0, 3.0))
    assert found == {"phase 1": pytest.approx({"median": 1.0, "low": 0.5, "high": 1.1})}
    words = ["--facts", "8", "--against", "x", "--pairs=3", "--json"]
    assert run._without(words, "--against", "--pairs") == ["--facts", "8", "--json"]
    with pytest.raises(LabError, match="holds no checkout"):
        run.main(["--against", "/nowhere"])
