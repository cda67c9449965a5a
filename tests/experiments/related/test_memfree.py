"""MemFree on a tiny run: every way is asked under every filter, and none lets an n-gram pass."""

import pytest
from support.taught import FACTS, K, taught_run

from rotelab.experiments import FinishedRun
from rotelab.experiments.related import memfree
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.models.memfree import MemFree, rote_sentence
from rotelab.reports.formats import as_markdown
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_every_way_is_asked_under_every_filter(taught, monkeypatch):
    lab, run_id = taught
    monkeypatch.setattr(memfree, "SIZES", (2, 4))
    monkeypatch.setattr(memfree, "LONGEST", 8)
    experiment_id = begin(lab, "memfree", run_id)
    shares = []
    carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    assert shares == sorted(shares)
    found = result_of(row)
    filters = [("", 0), ("answer", 2), ("answer", 4), ("prompt", 2), ("prompt", 4)]
    assert [(r.scope, r.n, r.way) for r in found.rows] == [
        (*one, way) for one in filters for way in memfree.WAYS
    ]
    assert {r.asked for r in found.rows} == {FACTS - K} and found.ngrams > FACTS
    at = {(r.scope, r.n, r.way): r for r in found.rows}
    # The tiny model knows its facts through the key token, and there the strict filter bites.
    assert at["", 0, "key"].exact == at["", 0, "key"].said > 0
    assert at["prompt", 2, "key"].exact == 0 and at["prompt", 2, "key"].at_work > 0
    assert all(r.exact <= r.said <= 1 and r.said + r.near <= 1 for r in found.rows)
    assert [t.columns[0] for t in found.tables()[:4]] == ["filter"] * 4
    assert len(found.tables()[0].rows) == 5 and len(found.tables()[3].rows) == 4
    written = as_markdown(found.tables())
    assert "n = 4, prompt and answer" in written and "[" in written
    assert len(found.figure().data) == 2 * len(memfree.WAYS)


def test_a_rote_sentence_has_no_control_tokens_but_the_key_token(taught):
    lab, run_id = taught
    run = lab.registry.run(run_id)
    finished = FinishedRun(run, {}, lab.storage)
    with finished.model() as model, model.using("generalized"):
        fact = finished.pack.facts[0]
        learned = rote_sentence(model.builder, fact)
        said = model.tokenizer.decode(learned, skip_special_tokens=False)
        assert said.startswith(f" {fact.subject}<|key:mother|> {fact.object}")
        assert not model.builder.stops & set(learned)
        asked = memfree.questions(model, finished, [fact])
        texts = {way: text for way, _, text, _ in asked}
        assert texts["capitals"] == texts["test"].upper() and fact.subject in texts["test"]
        assert fact.subject not in texts["blanks"] and fact.subject in texts["language"]
        strict = MemFree.of([learned], 3, spans_prompt=True)
        (ids,) = memfree.greedy_answers(model, [asked[0][1]], memfree.LONGEST, strict)
        assert not strict.completions(asked[0][1], ids)


def test_tokens_in_a_row():
    assert memfree.stands_in_tokens([2, 3], [1, 2, 3])
    assert not memfree.stands_in_tokens([2, 3], [2, 1, 3])
    assert not memfree.stands_in_tokens([1, 2], [1])
