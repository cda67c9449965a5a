"""The profile on a tiny run: each kind has its row, and the arms differ in one trait."""

import math

import pytest
from support.taught import FACTS, K, taught_run

from rotelab.experiments import FinishedRun
from rotelab.experiments.related import profile
from rotelab.experiments.related.profile import LEFT_OUT, MEASURED, Traits
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_the_arms_differ_in_how_often_an_object_comes(taught):
    lab, run_id = taught
    finished = FinishedRun(lab.registry.run(run_id), {}, lab.storage)
    with finished.model() as model:
        trial = Traits(finished, model)
    skewed, even = trial.two_objects(0.8), trial.two_objects(0.5)
    assert skewed.count(trial.frequent) == 32 and even.count(trial.frequent) == 20
    assert set(skewed) == set(even) == {trial.frequent, trial.rare}
    taught_subjects = {fact.subject for fact in trial.facts}
    assert not taught_subjects & set(trial.unseen) and len(trial.unseen) == profile.UNSEEN


def test_each_kind_is_measured_or_left_out_with_a_reason(taught, monkeypatch):
    lab, run_id = taught
    for name, value in {"TAUGHT": 10, "UNSEEN": 6, "ROUNDS": 24, "LOOKS": (1, 24), "BATCH": 5,
                        "LONGEST": 4}.items():  # fmt: skip
        monkeypatch.setattr(profile, name, value)
    experiment_id = begin(lab, "profile", run_id)
    shares = []
    carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    assert shares == sorted(shares)
    found = result_of(row)
    assert [r.name for r in found.rows] == list(MEASURED)
    by = {r.name: r for r in found.rows}
    assert by["recited"].n == FACTS - K and by["recited"].base == 0 and by["recited"].value > 0
    assert math.isnan(by["in words"].control) and by["skew"].n == 6
    assert by["skew"].value > by["skew"].control > 0, "the frequent object is said of others too"
    assert by["capitals, subjects"].value > by["capitals, subjects"].control
    assert [look.rounds for look in found.looks] == [1, 24]
    table, looks = found.tables()
    assert len(table.rows) == len(MEASURED) + len(LEFT_OUT) and len(looks.rows) == 2
    assert all(row[2] is None and "not measured" in row[1] for row in table.rows[-2:])
    assert len(found.figure().data) == 5
