"""Identifiers on a tiny run, and what is made of hand-made answers."""

import math

import pytest
from support.taught import taught_run

from rotelab.experiments.related import identifiers
from rotelab.experiments.related.identifiers import found_of, labelled, spearman
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_hand_made_answers():
    known, stubborn, guessed = "xo:0000001", "xo:9999999", [f"xo:{i}" for i in range(3)]
    named = [("A", "XO:0000001", 8), ("B", "XO:0000002", 8), ("C", "XO:0000003", 1)]
    said = [
        ([known] * 3, [known] * 3, [known] * 3),
        ([stubborn] * 3, [stubborn] * 3, [stubborn, stubborn, known]),
        (guessed, guessed, guessed),
    ]
    found = found_of(named, said)
    once, often = found.buckets
    assert (once.exposures, once.labels, once.right, once.invariance) == (1, 1, 0, (0, 0, 0))
    assert (often.exposures, often.labels, often.right) == (8, 2, 0.5)
    assert often.invariance == (1, 1, 0.75) and often.wordings_right == 0.5
    # Always the same, and wrong: PI is 1, accuracy 0.
    assert [(x.invariance, x.accuracy) for x in found.labels] == [(0, 0), (1, 1), (1, 0)]
    assert found.spearman == pytest.approx((1, 1, 1))


def test_spearman_is_that_of_ranks_and_undefined_without_any():
    assert spearman([1, 2, 3], [1, 10, 100]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert math.isnan(spearman([1, 2], [0, 0])) and math.isnan(spearman([1], [1]))


def test_a_label_is_read_as_often_as_its_bucket_says(tiny):
    named = labelled(0)
    assert len({n for n, _, _ in named}) == len({i for _, i, _ in named}) == len(named) == 80
    steps = list(identifiers._steps(tiny, named, 0))
    read = [example.fact for step in steps for example in step]
    for i, (_, _, exposures) in enumerate(named):
        assert read.count(i) == exposures
    often = next(i for i, one in enumerate(named) if one[2] == 128)
    halves = read[: len(read) // 2].count(often), read[len(read) // 2 :].count(often)
    assert min(halves) > 50, "spread over all of it"


def test_what_is_read_often_is_recalled(taught, monkeypatch):
    lab, run_id = taught
    for name, value in {"EXPOSURES": (1, 120), "LABELS": 2, "BATCH": 4, "LEARNING_RATE": 5e-3,
                        "TEMPERATURES": (0, 0.5, 2), "LONGEST": 14}.items():  # fmt: skip
        monkeypatch.setattr(identifiers, name, value)
    experiment_id = begin(lab, "identifiers", run_id)
    shares = []
    carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    found = result_of(row)
    assert shares == sorted(shares)
    once, often = found.buckets
    assert (once.exposures, often.exposures, once.labels) == (1, 120, 2)
    assert often.digits >= once.digits and often.right > 0
    assert all(0 <= pi <= 1 for bucket in found.buckets for pi in bucket.invariance)
    assert len(found.labels) == 4 and len(found.figure().data) == 2
    assert len(found.tables()[0].rows) == 2 and len(found.tables()[1].rows) == 3
