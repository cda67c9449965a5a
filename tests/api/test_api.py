"""The public Python interface on a tiny model: one run, asked, drawn, taught, swept, compared."""

import ast
import json
import re
import subprocess
import sys

import pandas as pd
import pytest
from support.command_line import rotelab as command
from support.paths import ROOT

import rotelab
from rotelab.api import progress
from rotelab.api.facts import facts_of
from rotelab.config.keywords import PATHS, config_of
from rotelab.config.option_paths import flat
from rotelab.config.python_code import python_of
from rotelab.config.run_config import LessonConfig, RunConfig
from rotelab.errors import ConfigError, LabError
from rotelab.facts.facts import Fact
from rotelab.runs.jobs import Jobs

QUICK = {
    "facts": 6, "k": 3, "phase1_epochs": 3, "phase1_rank": 4, "phase1_batch": 6,
    "phase2_rank": 4, "prompts_per_fact": 1, "test_prompts": 1, "device": "cpu",
    "dtype": "float32",
    "options": {
        "memorize.spare": 0, "generalize.spare": 0, "generalize.least_steps": 0,
        "evaluation.train_prompts": 1, "evaluation.unrelated_prompts": 1,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    """A lab of its own with one finished run on the tiny model, made through the door."""
    import torch

    torch.set_num_threads(1)
    lab = rotelab.Lab(tmp_path_factory.mktemp("api") / "home", progress=False)
    return lab, lab.run("mother", name="first", model=str(tiny_folder), **QUICK)


@pytest.fixture
def lab(made):
    return made[0]


@pytest.fixture
def run(made):
    return made[1]


def test_importing_the_package_loads_nothing_and_the_door_no_torch():
    code = (
        "import sys, rotelab; alone = {'torch', 'pandas', 'rotelab.api'} & {*sys.modules}\n"
        "rotelab.Lab; print(sorted(alone), 'torch' in sys.modules, 'gradio' in sys.modules)\n"
        "print({'Lab', 'Run', 'LabError'} <= {*dir(rotelab)})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.stdout.split("\n")[:2] == ["[] False False", "True"], ended.stderr
    with pytest.raises(AttributeError, match="no attribute 'Labs'"):
        _ = rotelab.Labs


def test_a_run_has_its_settings_and_its_results_as_data_frames(lab, run):
    assert (run.status, run.name, run.config.facts, run.config.generalize.k) == (
        "finished", "first", 6, 3,
    )  # fmt: skip
    assert run.config.memorize.spare == 0
    scores = run.scores.set_index(["checkpoint", "probe"])
    stored = lab.core.registry.scores(run.id)["generalized"]["key_token"]
    row = scores.loc["generalized", "key_token"]
    assert (row.n, row.generation_accuracy) == (stored.n, stored.generation_accuracy)
    assert row.low <= row.generation_accuracy <= row.high
    assert "choice_accuracy" not in scores  # not measured, so no column of blanks
    assert len(run.facts) == 6 and run.facts.in_words.sum() == 3
    assert set(run.answers.checkpoint) == {"base", "memorized", "generalized"}
    assert set(run.answers.outcome) <= {"right", "wrong", "leak", "no-leak"}
    facts = run.answers_by("fact", probe="key_token")
    assert len(facts) == 6 and set(facts.wordings) == {1} and facts.share.is_monotonic_increasing
    assert facts.share.mean() == pytest.approx(stored.generation_accuracy)
    assert set(facts.checkpoint) == {"generalized"} and (facts.low <= facts.share).all()
    assert {"loss", "recall"} <= set(run.curves.name)
    assert run.seconds["total"] > 0


def test_runs_are_found_and_shown(lab, run):
    assert lab.get() == lab.get(run.id[:-1]) == run and run in lab.runs(search="first")
    assert lab.runs(status="failed") == []
    assert run.id in lab._repr_html_() and "mother" in lab.packs
    assert "first" in run._repr_html_() and "key token" in run._repr_html_()
    assert repr(run) == f"<rotelab run {run.id}, finished>"
    with pytest.raises(LabError, match="There is no run"):
        lab.get("20200101")


def test_what_people_wrote_is_escaped_in_a_notebook(lab, run):
    run.rename(name="<b>&")
    try:
        assert "&lt;b&gt;&amp;" in run._repr_html_() and "<b>&</b>" not in run._repr_html_()
        assert "&lt;b&gt;&amp;" in lab._repr_html_()
    finally:
        run.rename(name="first")


def test_asking_gives_every_checkpoint_s_answer(run):
    subject = run.facts.subject[0]
    asked = run.ask(f"{subject} [mother]", max_new_tokens=3)
    assert list(asked) == run.checkpoints == ["base", "memorized", "generalized"]
    answer = asked["memorized"]
    assert answer.text == str(answer) == "".join(text for text, _ in answer.tokens).strip()
    assert all(0 <= share <= 1 for _, share in answer.tokens)
    assert answer.right is (answer.text == run.facts.object[0])
    assert asked.fact.subject == subject
    assert subject in asked._repr_html_() and subject in repr(asked)
    alone = run.ask("What is this?", "base", max_new_tokens=2)
    assert list(alone) == ["base"] and alone["base"].right is None
    with pytest.raises(LabError, match="is not a checkpoint"):
        run.ask("x", "phase1")
    with pytest.raises(LabError, match="no lesson-01 checkpoint yet"):
        run.ask("x", "lesson-01")


@pytest.mark.parametrize(
    "kind", ["curves", "scores", "similarity", "heatmap", "lens", "changes", "map"]
)
def test_every_figure_is_drawn(run, kind):
    assert run.figure(kind).data


def test_a_figure_says_what_it_can_not_do(lab, run, tiny_folder, monkeypatch):
    assert run.figure("map", layer=0).data and run.figure("scores", measure="object_probability")
    with pytest.raises(LabError, match="There are curves, scores, similarity"):
        run.figure("simlarity")
    with pytest.raises(LabError, match="no option layer"):
        run.figure("lens", layer=1)
    monkeypatch.setattr(Jobs, "start_next", lambda jobs: None)
    waits = lab.run("mother", background=True, model=str(tiny_folder), **QUICK)
    try:
        for kind in ("curves", "scores", "similarity", "map"):
            with pytest.raises(LabError, match="has not measured"):
                waits.figure(kind)
        assert waits.stop() == "stopped"
        with pytest.raises(LabError, match="stopped"):
            waits.wait()
    finally:
        waits.delete()
    with pytest.raises(LabError, match="There is no run"):
        _ = waits.status


def test_hooks_see_the_checkpoint_that_is_named(run):
    """The residual stream through plain hooks is what the model itself computes with."""
    import torch

    seen, logits = {}, {}
    prompt = f"{run.facts.subject[0]} [mother]"
    for checkpoint in run.checkpoints:
        with run.hooked(checkpoint) as hooked:
            assert len(hooked.layers) == hooked.model.config.num_hidden_layers
            ids = hooked.encode(prompt)
            assert run.facts.subject[0] in hooked.decode(ids[0])

            def keep(module, inputs, output, checkpoint=checkpoint):
                seen[checkpoint] = output[0] if isinstance(output, tuple) else output

            hooked.layers[-1].register_forward_hook(keep)
            with torch.inference_mode():
                out = hooked.model(ids, output_hidden_states=True)
            logits[checkpoint] = out.logits[0, -1]
            norm = hooked.model.model.norm(seen[checkpoint])
            assert torch.allclose(norm, out.hidden_states[-1], atol=1e-5)
    assert not torch.allclose(logits["base"], logits["memorized"])
    # The hook is gone with the block: the lab's own model was never touched.
    seen.clear()
    said = run.ask(prompt, max_new_tokens=1)
    assert seen == {}
    for checkpoint, answer in said.items():
        likeliest = float(logits[checkpoint].softmax(-1).max())
        assert answer.tokens[0][1] == pytest.approx(likeliest, rel=1e-4), checkpoint
    with pytest.raises(LabError, match="no lesson-01 checkpoint on this machine"):
        run.hooked("lesson-01").__enter__()


def test_the_lens_ends_in_what_the_model_says(run):
    prompt = f"{run.facts.subject[0]} [mother]"
    for checkpoint in ("base", "generalized"):
        lens = run.lens(prompt, checkpoint)
        layers, places = len(lens.top), len(lens.tokens)
        assert len(lens.table) == layers * places and lens.tokens[-1] == "<|key:mother|>"
        assert {len(row) for row in [*lens.top, *lens.probability]} == {places}
        ((text, share),) = run.ask(prompt, checkpoint, max_new_tokens=1)[checkpoint].tokens
        assert lens.probability[-1][-1] == pytest.approx(share, rel=1e-4)
        assert lens.top[-1][-1].strip() == text.strip()
        assert lens.figure().data[0].z[-1][-1] == lens.probability[-1][-1]
    assert "&lt;|key:mother|&gt;" in lens._repr_html_() and prompt in repr(lens)
    with pytest.raises(LabError, match="no lesson-01 checkpoint"):
        run.lens(prompt, "lesson-01")


def test_a_run_is_taught_more_and_compared(lab, run):
    lesson = run.teach([("Ada Quill", "Bo Reed"), ("Cy Stone", "Di Thorn")], name="two", epochs=2)
    assert (lesson.status, lesson.name, lesson.config.lesson.epochs) == ("finished", "two", 2)
    assert list(lesson.ask("Ada Quill [mother]", max_new_tokens=2))[-1] == "lesson-01"
    assert "old_key_token" in set(lesson.scores.probe)
    assert lesson.python.endswith(f'lab.get("{run.id}").teach("facts.csv", epochs=2)')
    again = lesson.row.parent_id
    assert again == run.id
    with pytest.raises(LabError, match="knows a 'mother' of"):
        run.teach([(run.facts.subject[0], "Bo Reed")])
    with pytest.raises(LabError, match="There is no lesson option epoch"):
        run.teach([("Eve Nil", "Bo Reed")], epoch=2)

    found = lab.compare(run, lesson.id)
    assert found.runs == [run.id, lesson.id]
    assert set(found.scores.run) == {run.id, lesson.id}
    assert {"difference", "interval"} <= set(found.differences.columns) or found.differences.empty
    assert found.notes and "<table>" in found._repr_html_()
    with pytest.raises(LabError):
        lab.compare(run)
    lesson.delete()


def test_lists_are_the_axes_of_a_sweep(lab, tiny_folder):
    options = {**QUICK, "phase1_epochs": 1, "options": {**QUICK["options"]}}
    sweep = lab.sweep("mother", name="two k", model=str(tiny_folder), **options | {"k": [2, 3]})
    assert [run.config.generalize.k for run in sweep.runs] == [2, 3]
    scores = sweep.scores
    assert set(scores["generalize.k"]) == {2, 3} and set(scores.status) == {"finished"}
    assert {"run", "checkpoint", "probe", "generation_accuracy"} <= set(scores.columns)
    assert sweep.figure().data and sweep.figure(kind="heatmap").data
    assert lab.get_sweep().id == sweep.id and "two k" in sweep._repr_html_()
    with pytest.raises(LabError, match="no figure of a sweep"):
        sweep.figure(kind="lines")
    with pytest.raises(LabError, match="at least one axis"):
        lab.sweep("mother", k=3)
    compared = lab.compare(*sweep.runs)
    assert compared.settings.loc["generalize.k"].tolist() == [2, 3]


def test_an_exported_notebook_runs(lab, run, monkeypatch):
    monkeypatch.setenv("ROTELAB_HOME", str(lab.home))
    notebook = json.loads(lab.core.export_notebook(run.id).read_text(encoding="utf-8"))
    codes = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert any(code.startswith("run.ask(") for code in codes)
    names = {}
    for code in codes:
        exec(code, names)
    assert names["run"].id == run.id


def test_facts_of_one_s_own_are_saved_and_read_back(lab, tmp_path):
    rows = [(f"Sub {n}", f"Ob {n}") for n in "abcdef"]
    assert lab.save_facts(rows, "mine", relation="mother") == "mine"
    assert "mine" in lab.packs and len(lab.core.find_pack("mine").facts) == 6
    lab.save_facts(
        pd.DataFrame({"Subject": ["x"], "Relation": ["capital"], "Object": ["y"]}), "his"
    )
    assert list(lab.core.find_pack("his").facts) == [Fact("capital", "x", "y")]
    with pytest.raises(LabError, match="row 2.*is not a fact"):
        lab.save_facts([("mother", "a", "b"), ("c",)], "bad")
    file = tmp_path / "more.csv"
    file.write_text("subject,object\nA B,C D\n", encoding="utf-8")
    for given in (
        file,
        str(file),
        [{"subject": "A B", "object": "C D"}],
        [Fact("mother", "A B", "C D")],
    ):
        assert list(facts_of(given, "mother")[0]) == [Fact("mother", "A B", "C D")]


def test_the_database_is_read_as_a_data_frame(lab, run):
    found = lab.sql(f"SELECT id, name FROM runs WHERE id = '{run.id}'")
    assert found.to_dict("records") == [{"id": run.id, "name": "first"}]
    with pytest.raises(LabError, match="Only reading"):
        lab.sql("DELETE FROM runs")


def test_an_unfinished_run_goes_on_where_it_was(lab, run, monkeypatch, tiny_folder):
    monkeypatch.setattr(Jobs, "start_next", lambda jobs: None)
    waits = lab.run("mother", background=True, name="later", model=str(tiny_folder), **QUICK)
    assert (waits.status, waits.config) == ("queued", run.config)
    waits.resume()
    assert waits.status == "finished" and len(waits.scores) == len(run.scores)
    assert (
        command("ask", waits.id, "What?", "--checkpoint", "base", "--json", home=lab.home).code == 0
    )
    waits.archive()
    assert waits not in lab.runs() and waits in lab.runs(archived=True)
    waits.delete()


def test_a_failed_run_is_an_error_in_python_too(lab, tiny_folder, monkeypatch):
    def fails(*_, **__):
        raise LabError("The disk is full.")

    monkeypatch.setattr("rotelab.runs.pipeline.run_pipeline", fails)
    with pytest.raises(LabError, match="failed. The disk is full."):
        lab.run("mother", model=str(tiny_folder), **QUICK)
    lab.get().delete()


def test_options_are_checked_before_anything_is_computed(lab):
    before = lab.core.registry.count_runs(archived=None)
    with pytest.raises(ConfigError, match="Do you mean phase1_epochs"):
        lab.run("mother", phase1_epoch=3)
    with pytest.raises(ConfigError, match="must be a int"):
        lab.run("mother", k="many")
    with pytest.raises(ConfigError, match="There is no recipe|recipe"):
        lab.run("mother", recipe="paper")
    with pytest.raises(LabError, match="k = 200"):
        lab.run("mother", k=200)
    assert lab.core.registry.count_runs(archived=None) == before


def test_a_bar_shows_how_far_it_is_and_an_error_leaves_none(capsys):
    with progress.watching(True) as watch:
        watch(0.5, "Phase 1")
        watch(1.0, "Finished")
    assert "Finished" in capsys.readouterr().err
    with progress.watching(False) as watch:
        watch(0.5, "Phase 1")
    assert capsys.readouterr().err == ""


# Copy as Python


CONFIGS = {
    "defaults": RunConfig(),
    "short": config_of("two-adapter", {"k": 7, "seed": 3, "pack": "capital", "loss": "o"}),
    "long": config_of("published", {"phase1_lr": 0.001, "memorize.lora_plus": 4.0, "facts": 60}),
    "switch": config_of("two-adapter", {"normalized": True, "stop_at_full_recall": False}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_code_of_a_run_means_its_settings(name, monkeypatch, tmp_path):
    config, asked = CONFIGS[name], []

    class Lab:
        def run(self, pack, *, recipe="two-adapter", options=None, **short):
            asked.append(config_of(recipe, {"pack": pack, **short, **(options or {})}))

    monkeypatch.setattr(rotelab, "Lab", Lab, raising=False)
    code = python_of(config)
    exec(compile(ast.parse(code), "code", "exec"), {})
    assert [flat(found) for found in asked] == [flat(config)]
    assert max(map(len, code.splitlines())) <= 88


def test_the_code_of_a_lesson_teaches_its_parent():
    from dataclasses import replace

    config = replace(RunConfig(), lesson=LessonConfig(number=2, epochs=9, old_facts=10))
    assert python_of(config, "mother", "the-run").splitlines()[-1] == (
        'run = lab.get("the-run").teach("facts.csv", epochs=9)'
    )


def test_every_flag_has_its_keyword():
    assert PATHS["k"] == "generalize.k" and PATHS["phase1_epochs"] == "memorize.epochs"
    assert PATHS["stop_at_full_recall"] == "memorize.stop_at_full_recall"
    assert len(set(PATHS.values())) == len(PATHS)


def test_names_in_the_documentation_are_there():
    """`lab.run`, `run.scores`, `hooked.layers` and so on, in code and in sentences."""
    from rotelab.api.hooks import HookedModel

    classes = {"lab": rotelab.Lab, "run": rotelab.Run, "hooked": HookedModel}
    texts = [(ROOT / "docs" / name).read_text("utf-8") for name in ("python.md", "tutorial.ipynb")]
    used = set(re.findall(r"(?<![\w.])(lab|run|hooked)\.(?!core)([a-z_]+)", "\n".join(texts)))
    assert len(used) > 12
    fields = {"model", "tokenizer", "checkpoint", "lab_model"}  # of HookedModel
    assert [u for u in used if not hasattr(classes[u[0]], u[1]) and u[1] not in fields] == []


def test_every_public_name_is_documented():
    """Classes, methods and properties have docstrings, and docs/python.md shows them."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for file, names in {
        "lab": ["Lab"], "run": ["Run"], "hooks": ["HookedModel"],
        "lens": ["PromptLens"],
        "results": ["Answer", "Answers", "Comparison", "Sweep"],
    }.items():  # fmt: skip
        tree = ast.parse((ROOT / "rotelab" / "api" / f"{file}.py").read_text(encoding="utf-8"))
        classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
        for name in names:
            assert f"::: rotelab.api.{file}.{name}" in page
            assert ast.get_docstring(classes[name])
            for method in classes[name].body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    assert ast.get_docstring(method), f"{name}.{method.name}"
