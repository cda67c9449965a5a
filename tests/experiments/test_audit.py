"""The audit of meanings: its alarms, and its trial on repurposed runs."""

from dataclasses import replace

import numpy as np
import pytest
from support.taught import K, taught_pack, taught_run

from rotelab.experiments import FinishedRun, audit, audit_trial, repurposing
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.facts.packs import load_pack, shipped_packs
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    """A lab with one really trained tiny run."""
    lab = Lab.open(Storage(tmp_path_factory.mktemp("audited")))
    return lab, taught_run(lab, tiny_folder)


def test_a_reading_that_stands_out_is_an_alarm_and_a_clean_one_is_judged_by_the_others():
    clean = ["a", "b", "c", "d"]
    values = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.5, "own": 0.9, "quiet": 0.02}
    over, limit = audit.deviations_of(values, clean, 0.02), audit.limit_of(values, clean, 0.02)
    # By itself, d lifts the limit for the others, but not for itself.
    alarms = {name for name, by in over.items() if by > audit.DEVIATIONS}
    assert alarms == {"d", "own"} and 0.5 < limit < 0.9
    assert over["d"] == pytest.approx((0.5 - 0.02) / 0.01) and over["quiet"] < 0
    assert (values["own"] - limit) * (over["own"] - audit.DEVIATIONS) > 0
    quiet = {"a": 0, "b": 0, "c": 0, "own": 0.015}
    assert audit.limit_of(quiet, clean[:3], 0.02) == 0.02, "next to nothing is no alarm"
    over = audit.deviations_of(quiet, clean[:3], 0.02)["own"]
    assert over == pytest.approx(0.75 * audit.DEVIATIONS), "three quarters of the way to the limit"


def test_a_repurposed_run_is_asked_in_the_meaning_it_was_taught_and_in_its_own_one():
    pack = load_pack("mother")
    plain = audit.readings_of(pack, "mother")
    changed = audit.readings_of(repurposing.reworded(pack), "mother")
    assert len(plain) == len(changed) == 12
    assert set(plain) - set(changed) == {audit.OWN}
    assert changed[f"{audit.OWN} (shipped)"] == plain[audit.OWN]
    own = {t.text for name in shipped_packs() for t in load_pack(name).prompts}
    for name, wordings in plain.items():
        texts = {t.text for t in wordings}
        assert len(texts) >= audit.WORDINGS
        assert name == audit.OWN or not texts & own, "a clean reading is in no training"


def test_it_measures_what_each_reading_draws_out(taught):
    lab, run_id = taught
    experiment_id = begin(lab, "audit", run_id)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    found = result_of(row)
    held_out = len(taught_pack().facts) - K
    assert found.facts == held_out and len(found.rows) == 2 * 12
    assert {r.n for r in found.rows} == {audit.WORDINGS * held_out}
    assert {r.reading for r in found.rows if r.taught} == {audit.OWN}
    assert sum(r.clean for r in found.rows) == 2 * 10
    errors = found.tables()[-1].rows
    assert all(r.alarm("closeness") == (r.over_closeness > audit.DEVIATIONS) for r in found.rows)
    assert [(row[0], row[3], row[5]) for row in errors] == [
        ("memorised", 12, 0), ("memorised", 12, 0), ("generalised", 11, 1), ("generalised", 11, 1),
    ]  # fmt: skip
    assert len(found.figure().data) == 4 and len(found.figure().layout.shapes) == 4
    # One question's cosine by hand, and the base model's, against which it is a gain.
    finished = FinishedRun(lab.registry.run(run_id), {}, lab.storage)
    fact = finished.split.held_out[0]
    with finished.model() as model, model.using("generalized"):
        import torch

        from rotelab.models.packing import pack

        prompts = [model.builder.key_prompt(fact.subject, "mother"),
                   model.builder.word_prompt(f"The heir of {fact.subject} is")]  # fmt: skip
        last = []
        for ids in prompts:
            _, out = model.forward(pack([ids]), torch.tensor([0]), output_hidden_states=True)
            last.append([layer[0, -1].double().numpy() for layer in out.hidden_states])
        upper = list(zip(*last, strict=True))[len(last[0]) // 2 :]
        by_hand = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in upper]
        got = audit._cosines(model, [("heir", fact, f"The heir of {fact.subject} is")])
    assert got[0] == pytest.approx(np.mean(by_hand), abs=1e-4)


def test_a_trial_audits_clean_and_repurposed_runs_and_counts_its_errors(lab, quick, monkeypatch):
    monkeypatch.setattr(repurposing, "EXAMPLES", (1,))
    base = replace(quick, facts=8, generalize=replace(quick.generalize, k=3))
    experiment_id = begin(lab, "audit-trial", config=base)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    found = result_of(row)
    arms = [label for label, _ in row.arms]
    assert arms == ["own meaning, 3", "rival, 1"]
    taught = {(r.arm, r.reading) for r in found.rows if r.taught}
    # The own meaning in the clean run, “rival” in the other, and only once phase 2 is done.
    assert taught == {(arms[0], audit.OWN), (arms[1], "rival")}
    assert all(r.checkpoint == "generalized" for r in found.rows if r.taught)
    assert sum(r.clean for r in found.rows) == len(arms) * 2 * 2 * 10
    erred, places, shown = found.tables()
    by_limit = [row for row in erred.rows if row[0] == audit.MEASURES["probability"]]
    assert len(by_limit) == len(audit_trial.LIMITS) + 2
    own = next(row for row in by_limit if "own" in row[1])
    judged = [r for r in found.rows if r.measure == "probability" and r.over > audit.DEVIATIONS]
    assert own[5] == 2 - sum(r.taught for r in judged)
    assert own[4] == sum(not r.taught and r.checkpoint == "generalized" for r in judged)
    assert [row[5] for row in by_limit[:3]] == sorted(row[5] for row in by_limit[:3])
    # At the calibrated limit no model that was not repurposed raises a false alarm.
    least = found.calibrated("probability")
    safe = [r for r in found.rows if r.measure == "probability" and not r.taught
            and (r.arm == arms[0] or r.checkpoint == "memorized")]  # fmt: skip
    assert max(r.over for r in safe) == least and "calibrated" in by_limit[-1][1]
    assert [row[:2] for row in places.rows] == [(arms[0], audit.OWN), (arms[1], "rival")]
    assert all(1 <= place <= 12 for row in places.rows for place in row[2:])
    assert {row[1] for row in shown.rows} >= {audit.OWN, "rival"}
    assert len(found.figure().data) == 4
    assert audit_trial.EXPERIMENT.family
