"""The dissimilarity policy on a tiny run: passages are learned, then said otherwise."""

import math

import pytest
from support.taught import FACTS, K, taught_run

from rotelab.experiments.related import dissimilarity
from rotelab.experiments.related.dissimilarity import STATES, passage
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_only_the_end_of_a_passage_is_learned(monkeypatch):
    monkeypatch.setattr(dissimilarity, "PROMPT", 2)
    found = passage((0, 5, 6, 7, 8), 3)
    assert found.prompt == (0, 5, 6) and found.object == (7, 8) and found.fact == 3
    assert found.loss == (False, False, False, True, True)


def test_half_of_the_passages_are_unlearned(taught, monkeypatch):
    lab, run_id = taught
    for name, value in {"PASSAGES": 4, "PROMPT": 4, "SUFFIX": 8, "ROUNDS": 80, "STEPS": 40,
                        "PROMPTS": 2, "SAMPLES": 6, "LEARNING_RATE": 5e-3,
                        "KL": 0.0, "TEMPERATURE": 0.1, "ASCENT_UNTIL": 7.0}.items():  # fmt: skip
        monkeypatch.setattr(dissimilarity, name, value)
    experiment_id = begin(lab, "dissimilarity", run_id)
    shares = []
    carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    assert shares == sorted(shares)
    found = result_of(row)
    assert [s.name for s in found.states] == list(STATES)
    by = {s.name: s for s in found.states}
    assert by["before"].recited == 0 and by["memorised"].recited == 1, "or nothing was memorised"
    assert by["memorised"].overlap == pytest.approx(1)
    assert by["memfree"].recited == 0 and math.isnan(by["memfree"].perplexity)
    assert by["memfree"].others == pytest.approx(1), "the filter knows half of the passages"
    assert by["ascent"].overlap < 0.9
    assert found.rewards[-1] > found.rewards[0] + 0.1, "or the policy learned nothing"
    assert found.passages == 2 and found.facts == FACTS - K
    assert [len(t.rows) for t in found.tables()] == [5, 5, 7, 2]
    assert len(found.figure().data) == 3
