"""Mosaic memory on a tiny run: canaries, fuzzy copies, and what is made of the attack's scores."""

import numpy as np
import pytest
from support.taught import taught_run

from rotelab.experiments.related import mosaic
from rotelab.experiments.related.mosaic import copies, found_of, likeliest
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_fuzzy_copies_differ_in_so_many_places_and_exact_ones_in_none():
    texts = [(0, 5, 6, 7, 8), (0, 1, 2, 3, 4)]
    likely = [[[], [5, 50], [6, 60], [7, 70], [8, 80]], [[], [1, 9], [2, 9], [3, 9], [4, 9]]]
    assert copies(texts, likely, 3, 0, 0) == [texts[0]] * 3 + [texts[1]] * 3
    fuzzy = copies(texts, likely, 1, 2, 0)
    assert len(fuzzy) == 20 and fuzzy[0] == texts[0] and fuzzy[10] == texts[1]
    for copy in fuzzy[1:10]:
        assert sum(a != b for a, b in zip(copy, texts[0], strict=True)) == 2 and copy[0] == 0
        assert all(t in (a, a * 10) for t, a in zip(copy, texts[0], strict=True))
    assert len(set(fuzzy[1:10])) > 1, "at other places in each copy"


def test_the_likeliest_tokens_are_those_of_the_place(tiny):
    text = tuple(tiny.builder.word_prompt("The mother of Ann"))
    (found,) = likeliest(tiny, [text])
    assert found[0] == [] and len(found) == len(text)
    assert all(len(some) == mosaic.TOP == len(set(some)) for some in found[1:])
    longer = likeliest(tiny, [(*text, 7)])[0]
    assert longer[: len(text)] == found, "what comes later does not matter"


def test_a_fuzzy_copy_that_counts_fully_has_rho_1_and_one_that_counts_not_has_0():
    plans = [(1, 0), (4, 0), (10, 0), (1, 3), (1, 16)]
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 40))

    def scores(strength):
        return np.concatenate([noise[0] + strength, noise[1]])

    found = found_of(plans, np.stack([scores(s) for s in (0.3, 1.0, 1.6, 1.6, 0.3)]), 0)
    full, none = found.arms[3:]
    assert full.rho == pytest.approx(1) and full.equivalent == pytest.approx(10)
    assert none.rho == 0 and none.equivalent == 1
    assert full.rho_interval[0] > 0.5 and none.rho_interval[1] < 0.5
    assert [a.auc for a in found.arms[:3]] == sorted(a.auc for a in found.arms[:3])
    assert len(found.tables()[0].rows) == 3 and len(found.tables()[1].rows) == 2
    assert len(found.figure().data) == 3


def test_every_arm_is_trained_and_attacked(taught, monkeypatch):
    lab, run_id = taught
    for name, value in {"CANARIES": 6, "LENGTH": 12, "EXACT": (1, 3, 6), "COPIES": 6,
                        "REPLACED": (2,), "LEARNING_RATE": 5e-3, "BATCH": 6,
                        "RESAMPLES": 5}.items():  # fmt: skip
        monkeypatch.setattr(mosaic, name, value)
    experiment_id = begin(lab, "mosaic", run_id)
    shares = []
    carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    assert shares == sorted(shares)
    found = result_of(row)
    assert [(a.exact, a.replaced) for a in found.arms] == [(1, 0), (3, 0), (6, 0), (1, 2)]
    assert found.arms[2].auc > 0.8, "or the texts were not learned"
