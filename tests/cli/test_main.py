"""The command line: bad input is one line and saves nothing; a real run on a tiny Llama."""

import dataclasses
import json
import math
import subprocess
import sys
import types
from pathlib import Path
from typing import NamedTuple

import pytest
from support.command_line import Said, nothing_saved, python, refused, rotelab
from support.paths import ROOT
from support.tiny import unknown_model

from rotelab.cli import main
from rotelab.config.run_config import (
    EvaluationConfig,
    GeneralizeConfig,
    MemorizeConfig,
    ModelSpec,
    RunConfig,
)
from rotelab.errors import LabError
from rotelab.evaluation.results import Score
from rotelab.facts.packs import load_pack
from rotelab.runs.lab import Lab

CHECKPOINTS = ["base", "memorized", "generalized"]
UNSPARED = ["--set", "memorize.spare=0", "--set", "generalize.spare=0"]
UNSPARED += ["--set", "generalize.least_steps=0"]
PROBES = {
    "key_token", "train_prompts_heldin", "train_prompts_heldout", "test_prompts_heldout",
    "unrelated",
}  # fmt: skip


# Bad input


@pytest.fixture
def pack(tmp_path):
    """A small sound pack in a folder of its own."""
    mother = load_pack("mother")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "facts.csv").write_text(mother.facts.take(6, 0).to_csv(), encoding="utf-8")
    (folder / "prompts.csv").write_text(mother.prompts.to_csv(), encoding="utf-8")
    return folder


def fill_200_mb(folder):
    with (folder / "facts.csv").open("wb") as out:
        out.truncate(200_000_000)


def change(file, old, new):
    def work(folder):
        path = folder / file
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new, 1))

    return work


def add(file, line):
    def work(folder):
        with (folder / file).open("ab") as out:
            out.write(line + b"\n")

    return work


ROWS = len(load_pack("mother").prompts)
BAD = {
    "missing column": (
        change("facts.csv", b"subject", b"who"),
        ["mine/facts.csv, column 'subject': has no column 'subject'"],
    ),
    "missing column of prompts": (
        change("prompts.csv", b"role", b"kind"),
        ["mine/prompts.csv, column 'role'"],
    ),
    "empty cell": (
        add("facts.csv", b"mother,Mary,"),
        ["mine/facts.csv, row 7, column 'object': the object is empty"],
    ),
    "row with too few cells": (add("facts.csv", b"mother,Mary"), ["mine/facts.csv, row 7: has 2"]),
    "the same subject twice": (
        lambda folder: [add("facts.csv", b"mother,Mary,Ann")(folder) for _ in range(2)],
        ["mine/facts.csv, row 8, column 'subject': 'Mary' already has a 'mother' in row 7"],
    ),
    "prompt without subject": (
        add("prompts.csv", b"mother,train,en,Who is it?"),
        [f"mine/prompts.csv, row {ROWS + 1}, column 'text': must contain {{subject}} once"],
    ),
    "unknown role": (
        add("prompts.csv", b"mother,exam,en,Who is {subject}?"),
        [
            f"mine/prompts.csv, row {ROWS + 1}, column 'role': 'exam' is not a role",
            "train, test, unrelated",
        ],
    ),
    "not UTF-8": (
        add("facts.csv", "mother,Zoë,Ann".encode("latin-1")),
        ["mine/facts.csv, row 7: is not UTF-8 text"],
    ),
    "NUL": (
        add("facts.csv", b"mother,Zo\0e,Ann"),
        ["facts.csv, row 7, column 'subject'", "U+0000"],
    ),
    "200 MB": (fill_200_mb, ["mine/facts.csv: is 200 MB; a table may have at most 100 MB"]),
    "no facts": (
        lambda folder: (folder / "facts.csv").write_text("relation,subject,object\n"),
        ["mine/facts.csv: has no facts"],
    ),
    "no prompts": (
        lambda folder: (folder / "prompts.csv").write_text("relation,role,language,text\n"),
        ["prompts of mine: the relation 'mother' has no train prompt"],
    ),
    "no file": (
        lambda folder: (folder / "prompts.csv").unlink(),
        ["mine/prompts.csv: there is no such file"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_pack_is_one_line_and_saves_nothing(case, pack, own_home):
    spoil, parts = BAD[case]
    assert Lab.open().facts_for(RunConfig(pack=str(pack), generalize=GeneralizeConfig(k=3)))
    spoil(pack)
    refused(rotelab("run", "--pack", pack, "--k", 3, "--json"), *parts)
    nothing_saved(own_home)


@pytest.mark.parametrize(
    "words, parts",
    [
        (["--k", 7], ["k = 7 facts", "the smallest relation has 6", "Choose k below 6"]),
        (["--k", 6], ["Choose k below 6"]),
        (["--k", 3, "--facts", 7], ["7 facts were asked for", "only 6"]),
        (["--k", 0], ["(k) must be between 1 and 10000; it is 0"]),
        (["--phase1-epochs", -1], ["(epochs) must be between 0 and 500; it is -1"]),
        (["--loss", "all"], ["must be one of normal, s-o, o; it is 'all'"]),
        (["--seed", -1], ["Seed (seed) must be between 0"]),
        (["--phase2-lr", "nan"], ["Learning rate, phase 2"]),
        (["--model", ""], ["Model (name) must not be empty"]),
        (["--pack", "nobody"], ["there is no pack 'nobody'. Known packs: author, capital"]),
        (["--pack", ""], ["Facts (pack) must not be empty"]),
        (["--pack", "x" * 5000], ["there is no pack"]),
    ],
)
def test_a_bad_option_is_one_line_and_saves_nothing(words, parts, pack, own_home):
    refused(rotelab("run", "--pack", pack, *words), *parts)
    nothing_saved(own_home)


@pytest.mark.parametrize("words", [["run", "--k", "many"], ["run", "--what"], ["walk"], ["ask"]])
def test_wrong_usage_ends_with_2(words, own_home):
    said = rotelab(*words)
    assert (said.code, said.out) == (2, "")
    assert "Usage" in said.err and "Traceback" not in said.err
    assert not own_home.exists()


def test_an_unknown_run_is_one_line(own_home):
    refused(rotelab("ask", "nobody", "Who?"), "nobody")
    refused(rotelab("ask", "../../etc", "Who?"), "../../etc")
    refused(rotelab("ask", "", "Who?"), "Which run?")
    refused(rotelab("ask", "latest", "Who?"), "There is no run yet")
    nothing_saved(own_home)


def test_a_home_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for words in (["runs"], ["packs"], ["run", "--k", 3], ["ask", "latest", "Who?"]):
        refused(rotelab(*words, home=tmp_path / "file"), "ROTELAB_HOME")


def test_an_error_of_many_lines_is_still_one(monkeypatch):
    def fail(storage=None):
        raise LabError("First\nsecond\r\n\tthird.")

    monkeypatch.setattr(Lab, "open", fail)
    assert rotelab("runs") == Said(2, "", "rotelab: First second third.\n")


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(Lab, "open", lambda storage=None: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rotelab("runs")


# What needs no model


def test_listing_needs_neither_torch_nor_gradio(own_home):
    ended = python(
        "import sys\n"
        "from rotelab.cli.main import main\n"
        "sys.argv = ['rotelab', 'runs']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'gradio', 'transformers', 'peft', 'plotly'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"
    assert ended.stdout.startswith("There are no runs yet. Make one:")


def test_the_module_is_a_command(own_home):
    ended = subprocess.run(
        [sys.executable, "-m", "rotelab", "ask", "nobody", "Who?"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    refused(Said(ended.returncode, ended.stdout, ended.stderr), "nobody")


def test_a_terminal_that_cannot_write_everything_is_no_fault(own_home):
    Lab.open().registry.save_fact_set("Mütter", load_pack("mother"))
    ended = python(
        "import sys; from rotelab.cli.main import main; sys.argv = ['rotelab', 'packs']; main()",
        PYTHONIOENCODING="ascii",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "M\\xfctter" in ended.stdout


def test_packs_are_listed_with_their_facts(own_home):
    five = load_pack("five")
    Lab.open().registry.save_fact_set("my own", five)
    said = rotelab("packs")
    assert (said.code, said.err) == (0, "")
    lines = {line[:16].strip(): line[16:] for line in said.out.splitlines()}
    prompts = str(len(load_pack("mother").prompts))
    assert lines["mother"].split() == ["100", "facts", "(mother", "100),", prompts, "prompts"]
    assert lines["my own"].strip() == lines["five"].strip()
    assert "author 100, capital 100" in lines["five"]


def test_a_pack_is_checked_before_time_is_spent(own_home, tmp_path):
    said = rotelab("packs", "--check", "mother")
    assert (said.code, said.out, said.err) == (0, "mother: nothing to mend.\n", "")
    pack = load_pack("mother")
    (tmp_path / "facts.csv").write_text(pack.facts.to_csv(), encoding="utf-8")
    few = pack.prompts.first("train", 3).first("unrelated", 1)
    (tmp_path / "prompts.csv").write_text(few.to_csv(), encoding="utf-8")
    lines = rotelab("packs", "--check", tmp_path).out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("mother: Train wordings: 3. Write at least 7")
    assert lines[1].startswith("mother: Unrelated sentences: 1.")
    refused(rotelab("packs", "--check", "nobody"), "there is no pack 'nobody'")


def test_a_damaged_fact_set_does_not_hide_the_others(own_home):
    lab = Lab.open()
    lab.registry.save_fact_set("broken", load_pack("mother"))
    with lab.registry.write() as db:
        db.execute("UPDATE contents SET facts_csv = 'what'")
    said = rotelab("packs")
    assert (said.code, said.err) == (0, "")
    assert "The facts stored under 'broken' can't be read" in said.out
    assert "mother " in said.out


@pytest.mark.parametrize(
    "words, meant",
    [
        ([], (7860, False, "127.0.0.1", (), True)),
        (["--port", 1, "--open"], (1, True, "127.0.0.1", (), True)),
        (["--host", "0.0.0.0", "--name", "a.b"], (7860, False, "0.0.0.0", ("a.b",), True)),
        (["--no-example"], (7860, False, "127.0.0.1", (), False)),
    ],
)
def test_serve_starts_the_page(words, meant, monkeypatch):
    asked = []
    page = types.ModuleType("rotelab.ui.app")
    page.serve = lambda lab, port, open_browser, host, names, example, **proxy: asked.append(
        (type(lab), port, open_browser, host, names, example)
    )
    monkeypatch.setitem(sys.modules, "rotelab.ui.app", page)
    assert rotelab("serve", *words).code == 0
    assert asked == [(Lab, *meant)]


def test_every_option_of_a_run_is_explained_by_its_own_help():
    from typer.main import get_command

    command = get_command(main.app).commands["run"]
    given = {parameter.name: parameter for parameter in command.params}
    for name, cls, field in [
        ("pack", RunConfig, "pack"), ("k", GeneralizeConfig, "k"), ("facts", RunConfig, "facts"),
        ("seed", RunConfig, "seed"), ("model", ModelSpec, "name"), ("device", ModelSpec, "device"),
        ("phase1_epochs", MemorizeConfig, "epochs"), ("phase1_lr", MemorizeConfig, "learning_rate"),
        ("phase1_rank", MemorizeConfig, "rank"), ("phase2_rank", GeneralizeConfig, "rank"),
        ("phase2_epochs", GeneralizeConfig, "epochs"), ("replay", GeneralizeConfig, "replay"),
        ("test_prompts", EvaluationConfig, "test_prompts"),
        ("candidates", EvaluationConfig, "candidates"),
        ("normalized", EvaluationConfig, "normalized"),
        ("generate", EvaluationConfig, "generate"),
    ]:  # fmt: skip
        found = next(f for f in dataclasses.fields(cls) if f.name == field)
        if "recipe" in str(given[name].show_default):
            assert given[name].show_default == f"the recipe's; usually {found.default}", name
        else:
            assert given[name].default == found.default, name
        assert given[name].help == found.metadata["help"], name


def test_numbers_that_are_none_become_null(own_home):
    lab = Lab.open()
    run_id = lab.registry.create_run(RunConfig(), load_pack("mother"))
    lab.registry.add_evaluation(run_id, "base", {"key_token": Score(1, 0.5, math.nan)}, [])
    scores = main.run_json(lab, run_id)["checkpoints"]["base"]["key_token"]
    assert scores == {"generation_accuracy": 0.5, "object_probability": None, "n": 1}


def test_figures_are_there_only_where_they_were_asked_for(own_home, capsys):
    lab = Lab.open()
    run_id = lab.registry.create_run(RunConfig(), load_pack("mother"))
    asked = {"key_token": Score(4, 0.5, 0.25, 0.75, 1 / 3, 1.0), "unrelated": Score(1, 0.0, 0.0)}
    lab.registry.add_evaluation(run_id, "base", asked, [])
    scores = main.run_json(lab, run_id)["checkpoints"]["base"]
    assert scores["key_token"] == {
        "generation_accuracy": 0.5, "object_probability": 0.25, "n": 4, "choice_accuracy": 0.75,
        "normalized_probability": 0.333333, "contains_accuracy": 1.0,
    }  # fmt: skip
    both = main.run_json(lab, run_id)["scores"]["base"]["key_token"]
    assert both["choice_accuracy"] == {"value": 0.75, "interval": None}, "no single answers"
    assert set(scores["unrelated"]) == {"generation_accuracy", "object_probability", "n"}
    main._print_scores(lab, run_id)
    line = capsys.readouterr().out.splitlines()[1]
    assert "key_token 0.50 (0.25) chosen 0.75 of candidates 0.33 contained 1.00   unrelated" in line


# A real run


class Run(NamedTuple):
    home: Path
    said: Said
    report: dict


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    """A run of six facts made by the command line, and what it printed."""
    import torch

    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("made") / "home"
    words = ["--facts", 6, "--k", 3, "--phase1-epochs", 2, "--phase1-rank", 4, "--phase1-batch", 3]
    words += ["--prompts-per-fact", 1, "--phase2-rank", 4, "--test-prompts", 1, "--seed", 5]
    words += [
        "--model",
        tiny_folder,
        "--device",
        "cpu",
        "--dtype",
        "float32",
        "--name",
        "Erster Versuch",
        "--json",
    ]
    words += UNSPARED
    said = rotelab("run", "--pack", "mother", *words, home=home)
    assert said.code == 0, said
    return Run(home, said, json.loads(said.out))


@pytest.fixture
def run(made, monkeypatch):
    monkeypatch.setenv("ROTELAB_HOME", str(made.home))
    return made


def test_run_prints_one_json_object_with_the_keys_agreed(run):
    assert run.said.out.count("\n") == 1
    report = run.report
    assert {"run_id", "status", "config", "seconds", "checkpoints"} <= set(report)
    assert (report["status"], report["error"]) == ("finished", "")
    config = RunConfig.from_dict(report["config"])
    assert (config.pack, config.facts, config.seed, config.generalize.k) == ("mother", 6, 5, 3)
    assert (config.memorize.epochs, config.memorize.rank, config.memorize.batch_size) == (2, 4, 3)
    assert (config.generalize.rank, config.evaluation.test_prompts) == (4, 1)
    assert set(report["seconds"]) == {"phase1", "phase2", "evaluation", "total"}
    assert all(seconds > 0 for seconds in report["seconds"].values())
    assert list(report["checkpoints"]) == CHECKPOINTS == list(report["damage"])
    assert all(d["perplexity"] > 1 and d["questions"] == 57 for d in report["damage"].values())
    for probes in report["checkpoints"].values():
        assert set(probes) == PROBES
        for score in probes.values():
            assert set(score) == {"generation_accuracy", "object_probability", "n"}
            assert 0 <= score["generation_accuracy"] <= 1
    counts = {probe: score["n"] for probe, score in report["checkpoints"]["base"].items()}
    assert counts == {
        "key_token": 6, "train_prompts_heldin": 3, "train_prompts_heldout": 3,
        "test_prompts_heldout": 3, "unrelated": 6,
    }  # fmt: skip


def test_run_measures_all_that_is_asked_for(tiny_folder):
    words = ["--facts", 4, "--k", 2, "--phase1-epochs", 1, "--phase1-rank", 2, "--test-prompts", 1]
    words += ["--phase2-rank", 2, "--prompts-per-fact", 1, "--model", tiny_folder]
    words += ["--device", "cpu", "--normalized", "--candidates", 8, "--generate", 2]
    words += ["--json", *UNSPARED]
    said = rotelab("run", "--pack", "mother", *words)
    assert said.code == 0, said
    report = json.loads(said.out)
    evaluation = RunConfig.from_dict(report["config"]).evaluation
    assert (evaluation.candidates, evaluation.normalized, evaluation.generate) == (8, True, 2)
    for probes in report["checkpoints"].values():
        for score in probes.values():
            assert 0 < score["normalized_probability"] < 1
            assert 0 <= score["choice_accuracy"] <= 1
            assert score["generation_accuracy"] <= score["contains_accuracy"] <= 1
    found = Lab.open().registry.predictions(report["run_id"], limit=-1)
    assert all(0 <= p.rank < 8 and p.chosen == (p.rank == 0) for p in found)
    assert all((p.generated is None) == p.correct for p in found)


def test_run_shows_a_bar_on_stderr_and_nothing_else(run):
    assert "Finished" in run.said.err and "100 %" in run.said.err
    for noise in ("Warning", "Loading weights", "Writing model shards", "Traceback"):
        assert noise not in run.said.err
    assert run.said.err.count("\n") == 1


def test_run_without_json_prints_a_table(run, capsys):
    main._print_scores(Lab.open(), run.report["run_id"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(run.report["run_id"]) and "[95 % interval]" in lines[0]
    low, high = run.report["scores"]["base"]["key_token"]["generation_accuracy"]["interval"]
    assert f"[{low:.2f}, {high:.2f}]" in lines[1]
    assert [line.split()[0] for line in lines[1:]] == CHECKPOINTS
    assert all(all(probe in line for probe in PROBES) for line in lines[1:])


def test_a_run_that_fails_says_so_in_json_and_in_one_line(tiny_folder, tmp_path, own_home):
    model = unknown_model(tiny_folder, tmp_path / "model")
    words = ["--pack", "mother", "--k", 3, "--facts", 6, "--model", model, "--json"]
    said = rotelab("run", *words)
    report = json.loads(said.out)
    assert (said.code, report["status"], report["checkpoints"]) == (2, "failed", {})
    assert said.err.count("\n") == 1
    last = said.err.rpartition("\r")[2]
    assert last.startswith(f"rotelab: Run {report['run_id']} failed. The model ")
    assert "'nosuch'" in last
    assert rotelab("run", *words[:-1]).out == ""


def test_a_run_does_not_start_beside_another_on_its_device(pack, own_home):
    lab = Lab.open()
    config = RunConfig(pack=str(pack), generalize=GeneralizeConfig(k=3))
    first = lab.jobs.start_foreground(config, lab.facts_for(config))
    refused(rotelab("run", "--pack", pack, "--k", 3), first)
    assert lab.registry.count_runs() == 1


def test_runs_are_listed(run):
    said = rotelab("runs")
    assert (said.code, said.err) == (0, "")
    (line,) = said.out.splitlines()
    assert line.startswith(run.report["run_id"]) and line.endswith("Erster Versuch")
    assert " finished " in line and " test 0." in line


def test_runs_are_listed_as_json(run):
    (listed,) = json.loads(rotelab("runs", "--json").out)
    accuracy = run.report["checkpoints"]["generalized"]["test_prompts_heldout"]
    assert listed["id"] == run.report["run_id"]
    assert listed["status"] == "finished"
    assert listed["test_accuracy"] == pytest.approx(accuracy["generation_accuracy"], abs=1e-4)


@pytest.mark.parametrize("limit, n", [(1, 1), (5, 2)])
def test_runs_are_limited(limit, n, own_home):
    lab = Lab.open()
    ids = [lab.registry.create_run(RunConfig(), load_pack("mother")) for _ in range(2)]
    listed = json.loads(rotelab("runs", "--json", "--limit", limit).out)
    assert [row["id"] for row in listed] == ids[::-1][:n]


def test_ask_answers_from_every_checkpoint(run):
    said = rotelab("ask", run.report["run_id"], "Who is it?", "--max-new-tokens", 3)
    assert (said.code, said.err) == (0, "")
    assert [line.split()[0] for line in said.out.splitlines()] == CHECKPOINTS


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_ask_answers_from_one_checkpoint(run, checkpoint):
    said = rotelab(
        "ask", "latest", "Who is it?", "--checkpoint", checkpoint, "--max-new-tokens", 3, "--json"
    )
    answer = json.loads(said.out)
    assert (answer["run_id"], answer["question"]) == (run.report["run_id"], "Who is it?")
    assert list(answer["answers"]) == [checkpoint]
    said = answer["answers"][checkpoint]
    assert set(said) == {"answer", "known", "tokens"}
    assert 1 <= len(said["tokens"]) <= 3
    assert all(0 < probability <= 1 for _, probability in said["tokens"])
    assert "".join(text for text, _ in said["tokens"]).strip() == said["answer"]


def test_ask_as_json_is_one_object(run):
    said = rotelab("ask", "latest", "Who?", "--max-new-tokens", 2, "--json")
    assert said.out.count("\n") == 1
    answers = json.loads(said.out)["answers"]
    assert list(answers) == CHECKPOINTS
    tokens = {name: [p for _, p in answer["tokens"]] for name, answer in answers.items()}
    assert tokens["base"] != tokens["memorized"] != tokens["generalized"]


def test_ask_takes_the_beginning_of_an_id_and_any_text(run):
    start = run.report["run_id"][:9]
    for question in ("Qui était-ce ? 🤔", "Mary Bahri [mother]", "{subject}", "half \udcff"):
        said = rotelab("ask", start, question, "--max-new-tokens", 1, "--json")
        assert said.code == 0, said.err
        assert json.loads(said.out)["run_id"] == run.report["run_id"]


def test_a_run_travels_to_another_home(run, tmp_path, monkeypatch):
    run_id, other = run.report["run_id"], tmp_path / "other"
    monkeypatch.chdir(tmp_path)
    said = rotelab("export", "latest")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{run_id}.rotelab.zip (") and said.out.endswith(" MB)\n")
    refused(rotelab("export", run_id), "already exists")
    small = rotelab("export", run_id[:12], tmp_path, "--no-adapters")
    refused(small, "already exists")
    assert rotelab("export", run_id, "small.zip", "--no-adapters").code == 0
    assert (tmp_path / "small.zip").stat().st_size < (tmp_path / said.out.split()[0]).stat().st_size

    came = rotelab("import", said.out.split()[0], home=other)
    assert came == Said(0, f"Imported run {run_id}.\n", "")
    again = rotelab("import", "small.zip", home=other)
    assert again.code == 0 and "already" in again.out
    words = ["ask", "latest", "Who is the mother of Mary Bahri?", "--max-new-tokens", 4, "--json"]
    assert rotelab(*words, home=other).out == rotelab(*words).out
    for listed in (json.loads(rotelab("runs", "--json", home=home).out) for home in (other, None)):
        assert [row["id"] for row in listed] == [run_id]


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_a_model_is_exported_that_answers_alike(checkpoint, run, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "model"
    said = rotelab("export-model", "latest", folder, "--checkpoint", checkpoint)
    assert said == Said(0, f"{folder}\n", "")
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert not [name for name in model.state_dict() if "lora" in name]
    for asked, text in (
        ("Who is it?", "<|endoftext|> Who is it?"),
        ("Mary Bahri [mother]", "<|endoftext|> Mary Bahri<|key:mother|>"),
    ):
        wanted = rotelab("ask", "latest", asked, "--checkpoint", checkpoint,
                         "--max-new-tokens", 8, "--json")  # fmt: skip
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        given = model.generate(**ids, max_new_tokens=8)[0, ids["input_ids"].shape[1] :]
        stops = {tokenizer.convert_tokens_to_ids("<|endoftext|>"), tokenizer.eos_token_id}
        # Half a character at the end, where the answer is cut off, is shown by neither.
        answer = tokenizer.decode([i for i in given.tolist() if i not in stops])
        answer = answer.rstrip("\ufffd").strip()
        assert answer == json.loads(wanted.out)["answers"][checkpoint]["answer"]
    refused(rotelab("export-model", "latest", folder), "holds something already")


@pytest.mark.parametrize(
    "words, parts",
    [
        (["export", "nobody"], ["nobody"]),
        (["import", "nothing.zip"], ["nothing.zip: there is no such file"]),
        (["import", ROOT / "pyproject.toml"], ["pyproject.toml", "is not a whole zip file"]),
        (["export-model", "nobody", "x"], ["nobody"]),
        (["export-model", "latest", "x", "--checkpoint", "best"], ["'best' is not a checkpoint"]),
    ],
)  # fmt: skip
def test_bundle_commands_refuse(words, parts, own_home):
    refused(rotelab(*words), *parts)
    nothing_saved(own_home)


def test_a_model_without_adapters_is_not_exported(own_home, tmp_path):
    run_id = Lab.open().registry.create_run(RunConfig(), load_pack("mother"))
    refused(rotelab("export-model", run_id, tmp_path / "x"), "has no generalized checkpoint")
    refused(rotelab("export", run_id, tmp_path / "x"), "still queued")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "words, parts",
    [
        (["latest", "Who?", "--checkpoint", "best"], ["'best' is not a checkpoint", "or all"]),
        (["latest", "  "], ["Type a question first"]),
        (["nobody", "Who?"], ["nobody"]),
    ],
)
def test_ask_refuses(run, words, parts):
    refused(rotelab("ask", *words), *parts)


def test_ask_says_which_checkpoints_a_run_has(own_home):
    run_id = Lab.open().registry.create_run(RunConfig(), load_pack("mother"))
    refused(
        rotelab("ask", "latest", "Who?", "--checkpoint", "memorized"),
        f"Run {run_id} has no memorized checkpoint yet. It has: base.",
    )
