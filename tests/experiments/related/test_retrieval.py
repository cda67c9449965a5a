"""Looking up on a tiny run."""

import pytest
from support.taught import FACTS, K, taught_run

from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    run_id = taught_run(lab, tiny_folder)
    experiment_id = begin(lab, "retrieval", run_id)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    return lab, run_id, result_of(row)


def test_every_way_to_look_up_is_a_row(made):
    _, _, found = made
    assert found.stored == FACTS
    assert len(found.rows) == 3 * (2 * 5 + 5)
    assert {(r.rule, r.k) for r in found.rows} == {("paper", 1), ("paper", 16), ("code", 16)}
    for row in found.rows:
        assert 0 <= row.whole <= row.first <= 1 and 0 <= row.leak <= 1
        assert row.n % (FACTS - K) == 0 and row.leaks > 0
    assert [len(table.rows) for table in found.tables()] == [30, 15]
    assert len(found.figure().data) == 6


def test_without_the_store_the_answers_are_the_model_s_own(made):
    lab, run_id, found = made
    from rotelab.evaluation.probes import evaluate, questions
    from rotelab.experiments import FinishedRun

    finished = FinishedRun(lab.registry.run(run_id), {}, lab.storage)
    alone = {(r.checkpoint, r.rule, r.k): r for r in found.rows if r.share == 0}
    assert len(alone) == 9
    for checkpoint in ("base", "memorized", "generalized"):
        mine = [r for (c, _, _), r in alone.items() if c == checkpoint]
        assert len({(r.first, r.whole, r.leak) for r in mine}) == 1, "k and the rule play no part"
        with finished.model() as model, model.using(checkpoint):
            about = (finished.pack.facts, finished.split, finished.pack.prompts)
            asked = questions(model, *about, finished.config.evaluation, 0)
            asked = [q for q in asked if q.probe == "test_prompts_heldout"]
            right = [p.correct for some in evaluate(model, asked, finished.config.evaluation)
                     for p in some]  # fmt: skip
        assert mine[0].whole == pytest.approx(sum(right) / len(right))
