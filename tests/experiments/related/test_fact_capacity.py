"""Fact capacity on a tiny run: every arm is learned from scratch, and others are learned after."""

import pytest
from support.taught import taught_run

from rotelab.evaluation.memorization import capacity
from rotelab.experiments.related import fact_capacity
from rotelab.experiments.related.common import learn
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_every_arm_is_learned_and_the_first_facts_are_asked_again(taught, monkeypatch):
    lab, run_id = taught
    for name, value in {"FACTS": (3, 6), "RANKS": (1,), "ROUNDS": 40, "EACH": 3, "BATCH": 3,
                        "LATER_ROUNDS": 6, "REPLAYS": (0.0, 1.0)}.items():  # fmt: skip
        monkeypatch.setattr(fact_capacity, name, value)
    monkeypatch.setattr(capacity, "RESAMPLES", 5)
    experiment_id = begin(lab, "fact-capacity", run_id)
    shares = []
    carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    assert shares == sorted(shares) and shares[-1] < 1
    found = result_of(row)
    rank = lab.registry.run(run_id).config.memorize.rank
    assert [(a.facts, a.rank) for a in found.arms] == [(3, rank), (6, rank), (6, 1)]
    for arm in found.arms:
        assert len(arm.known) == 40 and 0 == arm.known[0] <= max(arm.known) <= arm.facts
    assert found.arms[0].known[-1] > 0, "or nothing was learned"
    forgotten, rehearsed = found.overwritten
    for one in found.overwritten:
        assert len(one.first) == len(one.second) == 7, "before the second set, and each round"
        assert one.second[0] == 0
    # Both began alike, and reading all of it again keeps at least as much.
    assert forgotten.first[0] == rehearsed.first[0] > 0
    assert rehearsed.first[-1] >= forgotten.first[-1]
    known, later = found.tables()
    assert len(known.rows) == 3 and [row[0] for row in later.rows] == ["0%", "100%"]
    assert later.columns == ("read again", "0", "1", "3", "6", "the others after 6")
    assert len(found.figure().data) == 5


def test_learning_starts_afresh_and_tells_what_was_recalled_before_each_step(tiny, mother):
    from rotelab.config.run_config import MemorizeConfig

    settings = MemorizeConfig(rank=8, learning_rate=5e-3)
    step = [tiny.builder.rote(fact, i, "o") for i, fact in enumerate(mother.facts[:2])]

    def told():
        return [{i: one.probability for i, one in recall.items()}
                for recall in learn(tiny, [step] * 12, settings, 0)]  # fmt: skip

    first = told()
    assert first[-1][0] > 10 * first[0][0] and set(first[0]) == {0, 1}
    assert told() == first, "a fresh adapter each time"


def test_a_run_without_adapters_is_refused_before_its_model_is_loaded(lab, quick):
    from dataclasses import replace

    from rotelab.errors import LabError
    from rotelab.experiments import FinishedRun
    from rotelab.experiments.related import identifiers

    config = replace(quick, method="full")
    run_id = lab.registry.create_run(config, lab.facts_for(config))
    finished = FinishedRun(lab.registry.run(run_id), {}, lab.storage)
    for module in (fact_capacity, identifiers):
        with pytest.raises(LabError, match="method=lora"):
            module.measure(finished)
