"""The base model's answers kept between runs: the same as computed, and for the same alone."""

import os
from dataclasses import replace

import pytest
import torch

from rotelab.config.run_config import EvaluationConfig, ModelSpec
from rotelab.evaluation import forgetting, probes
from rotelab.evaluation.kept import base_answers
from rotelab.facts.facts import FactSet
from rotelab.models.lab_model import AdapterShape
from rotelab.models.loading import load_model
from rotelab.registry import Registry
from rotelab.runs import worker
from rotelab.storage import remove_oldest

SETTINGS = EvaluationConfig(test_prompts=1, unrelated_prompts=1)
EVERYTHING = replace(SETTINGS, normalized=True, candidates=4, generate=2)


@pytest.fixture
def facts(mother):
    return FactSet(list(mother.facts)[:6])


def asked_of(model, facts, mother, seed=0, config=SETTINGS):
    return probes.questions(model, facts, facts.split(3, 0), mother.prompts, config, seed)


def answers(model, folder, asked, config=SETTINGS):
    return [p for some in base_answers.evaluate(model, folder, asked, config) for p in some]


def counted(monkeypatch, place, name):
    calls, real = [], getattr(place, name)
    monkeypatch.setattr(place, name, lambda *about: calls.append(about) or real(*about))
    return calls


def test_kept_answers_are_those_that_were_computed(tiny, facts, mother, tmp_path, monkeypatch):
    calls = counted(monkeypatch, probes, "evaluate")
    asked = asked_of(tiny, facts, mother, config=EVERYTHING)
    computed, kept = (answers(tiny, tmp_path, asked, EVERYTHING) for _ in range(2))
    assert len(calls) == 1 and computed == kept
    assert {p.normalized is None for p in kept} == {False}
    calls = counted(monkeypatch, forgetting, "measure")
    before, again = (base_answers.damage(tiny, tmp_path) for _ in range(2))
    assert len(calls) == 1 and before == again and len(before[1]) > 50


def test_whatever_changes_an_answer_has_it_computed_anew(
    tiny, tiny_folder, facts, mother, tmp_path, monkeypatch
):
    asked = asked_of(tiny, facts, mother)
    answers(tiny, tmp_path, asked)
    calls = counted(monkeypatch, probes, "evaluate")

    # Nothing new is kept, so that each change is compared with the first answers alone.
    monkeypatch.setattr(base_answers, "_keep", lambda *about: None)

    def computes(model=tiny, asked=asked, config=SETTINGS):
        before = len(calls)
        answers(model, tmp_path, asked, config)
        return len(calls) > before

    assert not computes(), "nothing changed"
    other = replace(asked[-1], text=asked[-1].text + "?")
    assert computes(asked=[*asked[:-1], other]), "another prompt"
    assert computes(asked=asked_of(tiny, facts, mother, seed=1)), "another draw of wordings"
    assert computes(config=replace(SETTINGS, generate=1)), "other settings"
    spec, names = ModelSpec(str(tiny_folder), "cpu", "float32"), ["mother", "capital"]
    assert computes(load_model(replace(spec, dtype="bfloat16"), names)), "another precision"
    assert computes(load_model(spec, names, seed=1)), "other key tokens"
    assert computes(load_model(spec, names, method="full")), "another way of training"
    same = load_model(spec, names)
    assert not computes(same), "the same model, loaded again"
    with torch.no_grad():
        same.network.model.norm.weight[3] += 1e-6
    assert computes(same), "one number of another model"
    monkeypatch.setattr(base_answers, "code", lambda: "newer")
    assert computes(), "another version"


def test_only_the_base_model_is_kept(tiny, facts, mother, tmp_path):
    tiny.attach("memorize", AdapterShape(2, 0))
    asked = asked_of(tiny, facts, mother)
    for checkpoint in ("base", "memorized"):
        with tiny.using(checkpoint):
            assert {p.checkpoint for p in answers(tiny, tmp_path, asked)} == {checkpoint}
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_computed_anew(tiny, facts, mother, tmp_path, caplog):
    asked = asked_of(tiny, facts, mother)
    computed = answers(tiny, tmp_path, asked)
    (file,) = tmp_path.iterdir()
    whole = file.read_text(encoding="utf-8")
    changed = whole.replace("false", "true", 1)
    assert changed != whole
    for text in ("", "{", "[]", '{"sha256": 1, "rows": []}', changed):
        file.write_text(text, encoding="utf-8")
        caplog.clear()
        assert answers(tiny, tmp_path, asked) == computed
        assert "computed again" in caplog.text
        assert file.read_text(encoding="utf-8") == whole


def test_half_an_evaluation_is_not_kept(tiny, facts, mother, tmp_path):
    asked = asked_of(tiny, facts, mother)
    rows = base_answers.evaluate(tiny, tmp_path, asked, replace(SETTINGS, batch_tokens=64))
    next(rows)
    rows.close()
    assert not list(tmp_path.iterdir())


def test_a_second_run_reads_what_the_first_computed(quick, lab, monkeypatch):
    asked, measured, found = [], [], []
    real, damage = probes.evaluate, forgetting.measure
    monkeypatch.setattr(probes, "evaluate", lambda m, *a: asked.append(m.checkpoint) or real(m, *a))
    monkeypatch.setattr(forgetting, "measure", lambda m: measured.append(m.checkpoint) or damage(m))
    for _ in range(2):
        run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
        worker.work(lab.registry, lab.storage, run_id)
        registry: Registry = lab.registry
        found.append((
            registry.predictions(run_id, "base", limit=-1),
            registry.scores(run_id),
            registry.damage(run_id),
            registry.quiz_answers(run_id),
        ))  # fmt: skip
    assert asked == measured == ["base", "memorized", "generalized", "memorized", "generalized"]
    assert found[0] == found[1]


def test_the_oldest_files_make_room(tmp_path):
    for place, name in enumerate("abcd"):
        (tmp_path / f"{name}.json").write_bytes(bytes(100))
        os.utime(tmp_path / f"{name}.json", (place, place))
    (tmp_path / "other.txt").write_bytes(bytes(1000))
    remove_oldest(tmp_path / "a.json", 250)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "d.json", "other.txt"]
