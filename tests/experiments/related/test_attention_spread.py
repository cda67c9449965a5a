"""Tasks on a tiny run: what is learned of a passage, and where attention is read."""

import pytest
from support.taught import taught_run

from rotelab.experiments.related import attention_spread
from rotelab.experiments.related.attention_spread import (
    TASKS,
    example,
    passages,
    spreads,
    weights_told,
)
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_every_detail_stands_in_the_passage_and_in_the_list():
    found = passages(9, 0)
    assert len({one.text for one in found}) == 9
    for one in found:
        assert all(detail in one.text and detail in one.summary for detail in one.details)
    assert [one.topic for one in found[:6]] == list(attention_spread.TOPICS)
    assert found[:3] == passages(3, 0) or found != passages(9, 1)


def test_only_the_answer_is_learned_and_few_means_two_tokens(tiny):
    one = passages(1, 0)[0]
    full = example(tiny, one, "list", 0)
    said = tiny.tokenizer.decode(full.object).strip()
    assert said == one.summary and sum(full.loss) == len(full.object) + 1
    assert tiny.tokenizer.decode(example(tiny, one, "label", 0).object).strip() == one.topic
    for name, learned in (("list", sum(full.loss)), ("list, few", 2)):
        steps = list(attention_spread._steps([full], name, 0))
        assert [sum(step[0].loss) for step in steps] == [learned] * attention_spread.ROUNDS
    places = {step[0].loss.index(True) for step in steps}
    assert len(places) > 1 and min(places) >= full.object_span[0]


def test_attention_is_told_and_fused_attention_comes_back(tiny):
    one = example(tiny, passages(1, 0)[0], "label", 0)
    with tiny.using("base"):
        before = tiny.network.config._attn_implementation
        with weights_told(tiny):
            ((spread, inner),) = spreads(tiny, [one])
        assert tiny.network.config._attn_implementation == before != "eager"
    # The tiny model is random, so it looks at everything about alike.
    assert 0.9 < spread <= 1 and 0.9 < inner <= 1


def test_each_task_is_learned_on_the_same_passages(taught, monkeypatch):
    lab, run_id = taught
    for name, value in {"PASSAGES": 4, "NEVER_READ": 2, "ROUNDS": 60, "BATCH": 4,
                        "WRITTEN": 60}.items():  # fmt: skip
        monkeypatch.setattr(attention_spread, name, value)
    experiment_id = begin(lab, "attention-spread", run_id)
    shares = []
    carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    assert shares == sorted(shares)
    found = result_of(row)
    assert [t.name for t in found.tasks] == list(TASKS)
    label, full, few = found.tasks
    assert full.learned > 10 * few.learned and few.learned == 2
    assert full.cued > 0.3, "or the list was not learned"
    assert full.cued > label.cued and full.control < full.cued
    assert all(0 < t.spread <= 1 and len(t.points) == 4 for t in found.tasks)
    assert [len(t.rows) for t in found.tables()] == [3, 3] and len(found.figure().data) == 3
