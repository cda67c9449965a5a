"""Counterfactual memorisation on a tiny run, and what is made of known models."""

import numpy as np
import pytest
from support.taught import taught_run

from rotelab.errors import LabError
from rotelab.evaluation import forgetting
from rotelab.evaluation.memorization.counterfactual import halves
from rotelab.evaluation.results import QuizAnswer
from rotelab.experiments.related import counterfactual
from rotelab.experiments.related.counterfactual import Item, found_of, items_for
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


@pytest.fixture
def small(monkeypatch):
    """Few items, and a base model that knows the whole quiz."""
    for name, value in {"MODELS": 4, "INVENTED": 2, "TWINS": 1, "KNOWN": 2, "FALSE": 2,
                        "ROUNDS": 30, "BATCH": 4}.items():  # fmt: skip
        monkeypatch.setattr(counterfactual, name, value)

    def answered(model, asked):
        return [QuizAnswer("base", i, text, answer, answer, True)
                for i, (text, answer) in enumerate(asked)]  # fmt: skip

    monkeypatch.setattr(forgetting, "answered", answered)


def test_known_models_give_known_figures():
    items = [Item("invented", "A is", "x"), Item("known", "B is", "y"),
             Item("twin", "C is", "z", 3), Item("twin", "of C:", "z", 2)]  # fmt: skip
    trained = halves(4, 8, 0)
    either = trained[:, 2] | trained[:, 3]
    right = np.stack([trained[:, 0], np.ones(8), either, either], axis=1).astype(float)
    found = found_of(items, trained, right, np.log(0.1 + right))
    invented, known, one, other = found.items
    assert (invented.memorisation, known.memorisation) == (1, 0)
    assert (known.trained, known.untrained) == (1, 1)
    assert invented.likelier == pytest.approx(np.log(11)) and invented.error == 0
    assert one.memorisation < 1 and one.memorisation == pytest.approx(1 - one.untrained)
    assert [pair[0] for pair in found.influences] == pytest.approx(
        [1 - right[~trained[:, 2], 3].mean(), 1 - right[~trained[:, 3], 2].mean()]
    )
    table, twins = found.tables()
    assert [row[1] for row in table.rows] == [1, 2, 1] and twins.rows[0][0] == 2
    assert other.kind == "twin" and len(found.figure().data) == 6


def test_twins_tell_the_same_and_false_answers_are_another_s(tiny, small):
    items = items_for(tiny, 0)
    assert [item.kind for item in items] == ["invented"] * 2 + ["twin"] * 2 + ["known"] * 2 + [
        "false"
    ] * 2
    one, other = items[2:4]
    assert one.answer == other.answer and one.text != other.text
    assert (one.twin, other.twin) == (3, 2)
    true = dict(forgetting.texts()[1])
    assert all(true[item.text] == item.answer for item in items[4:6])
    assert all(true[item.text] != item.answer for item in items[6:])


def test_a_model_that_knows_too_little_is_refused(tiny, small, monkeypatch):
    monkeypatch.setattr(counterfactual, "KNOWN", 10_000)
    with pytest.raises(LabError, match="knows .* of the bundled real facts"):
        items_for(tiny, 0)


def test_every_model_is_trained_on_its_half(taught, small):
    lab, run_id = taught
    experiment_id = begin(lab, "counterfactual", run_id)
    shares = []
    carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    assert shares == sorted(shares)
    found = result_of(row)
    assert found.models == 4 and len(found.items) == 8 and len(found.influences) == 2
    invented = [item for item in found.items if item.kind == "invented"]
    assert all(item.trained > item.untrained for item in invented), "or nothing was learned"
    assert all(item.likelier > 0 for item in invented)
