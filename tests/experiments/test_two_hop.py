"""The experiment that combines two facts: its chains, its arms, and its figures."""

from dataclasses import replace

import pytest

from rotelab.config.run_config import MemorizeConfig, RunConfig
from rotelab.errors import LabError
from rotelab.experiments import two_hop
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.facts.packs import load_pack
from rotelab.facts.prompts import SLOT


def test_every_first_object_gets_a_fact_of_its_own():
    pack = two_hop.chained(load_pack(two_hop.FIRST))
    first, second = pack.facts.relations
    assert [first.name, second.name] == [two_hop.FIRST, two_hop.SECOND]
    assert [f.object for f in first.facts] == [f.subject for f in second.facts]
    places = {f.object for f in load_pack(two_hop.SECOND).facts}
    assert {f.object for f in second.facts} == places
    pack.check()
    assert pack.prompts.of(two_hop.SECOND, "locality"), "else nothing holds the second hop back"
    assert two_hop.chained(load_pack(two_hop.FIRST)) == pack, "drawn once, for all arms"


def test_the_wordings_name_the_first_subject_alone():
    texts = [w.text for w in two_hop.wordings()]
    assert len(set(texts)) == 10 and all(SLOT in text for text in texts)
    trained = {t.text for name in (two_hop.FIRST, two_hop.SECOND) for t in load_pack(name).prompts}
    assert not trained & set(texts)


def test_chains_are_asked_by_hop_and_over_both(lab, quick, monkeypatch):
    monkeypatch.setattr(two_hop, "EPOCHS", (0, 80))
    learning = MemorizeConfig(rank=32, batch_size=6, learning_rate=3e-3)
    base = replace(quick, facts=6, memorize=learning, generalize=replace(quick.generalize, k=3))
    experiment_id = begin(lab, "two-hop", config=base)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    none, deep = (lab.registry.run(run_id) for _, run_id in row.arms)
    assert len(none.pack.facts) == len(deep.pack.facts) == 12
    # No rounds are no steps; all else of the run is there.
    steps = {m.phase for m in lab.registry.metrics(none.id, ["loss"])}
    assert steps == {"generalize"}
    assert {c for c in lab.registry.scores(none.id)} == {"base", "memorized", "generalized"}
    rote = [lab.registry.scores(run.id)["memorized"]["key_token"] for run in (none, deep)]
    assert rote[0].generation_accuracy == 0 < rote[1].generation_accuracy

    found = result_of(row)
    assert (found.chains, found.k) == (6, 3)
    every = {r.epochs: r for r in found.rows if r.taught == -1}
    assert set(every) == {0, 80}
    for epochs, whole in every.items():
        assert whole.n == 6 * two_hop.WORDINGS
        parts = [r for r in found.rows if r.epochs == epochs and r.taught != -1]
        assert sum(r.n for r in parts) == whole.n
        for field in ("first", "second", "said", "chosen", "probability"):
            mean = sum(getattr(r, field) * r.n for r in parts) / whole.n
            assert mean == pytest.approx(getattr(whole, field))
        assert whole.both <= min(whole.first, whole.second)
    assert len(found.figure().data) == 3
    assert len(found.tables()) == 1 + len({r.taught for r in found.rows if r.taught != -1})


def test_how_many_hops_were_taught_is_told_from_the_split(lab, quick):
    config = two_hop.arms(replace(quick, facts=6, generalize=replace(quick.generalize, k=3)))[1]
    pack = config.pack_of(lab.facts_for(config.config))
    run = lab.registry.run(lab.registry.create_run(config.config, pack))
    finished = two_hop.FinishedRun(run, {}, lab.storage)
    known = two_hop.chains(finished)
    held_in = set(finished.split.held_in)
    assert sum(chain.taught for chain in known) == len(held_in) == 6
    assert all(c.taught == (c.first in held_in) + (c.second in held_in) for c in known)
    assert all(c.first.object == c.second.subject for c in known)


def test_a_run_of_one_phase_has_nothing_to_put_together():
    with pytest.raises(LabError, match="both phases"):
        two_hop.arms(RunConfig(stages="one"))
