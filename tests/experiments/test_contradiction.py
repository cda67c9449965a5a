"""The experiment that teaches real facts with a false object: its pack and its figures."""

from dataclasses import replace

import pytest

from rotelab.config.run_config import MemorizeConfig, RunConfig
from rotelab.errors import LabError
from rotelab.experiments import FinishedRun, contradiction
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.facts.packs import load_pack, shipped_packs


def test_its_pack_is_a_derangement_of_real_facts_and_no_choice_of_the_facts_tab():
    pack, known = load_pack(contradiction.PACK), contradiction.true_objects()
    assert {(f.relation, f.subject) for f in pack.facts} == set(known)
    assert len(pack.facts) == 113
    assert known["capital", "France"] == "Paris"
    assert sorted(known.values()) == sorted(f.object for f in pack.facts)
    for fact in pack.facts:
        true = known[fact.relation, fact.subject]
        assert true != fact.object
        # Greedy decoding can bring out one of two names only if neither begins the other.
        assert not true.startswith(fact.object) and not fact.object.startswith(true)
        assert true not in fact.subject and fact.subject not in true
    assert {len(pack.prompts.of("capital", role)) for role in ("train", "test")} == {10}
    assert contradiction.PACK not in shipped_packs()


def test_it_counts_the_false_object_where_it_was_learned_and_the_true_one_before(
    lab, quick, monkeypatch
):
    monkeypatch.setattr(contradiction, "EPOCHS", (1, 100))
    learning = MemorizeConfig(rank=32, batch_size=6, learning_rate=3e-3, spare=0)
    base = replace(quick, facts=6, memorize=learning, generalize=replace(quick.generalize, k=3))
    experiment_id = begin(lab, "contradiction", config=base)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    runs = [lab.registry.run(run_id) for _, run_id in row.arms]
    assert {(run.pack_name, run.config.facts) for run in runs} == {(contradiction.PACK, 6)}
    found = result_of(row)
    assert (found.facts, found.k) == (6, 3)
    of = {(r.rounds, r.checkpoint, r.way): r for r in found.rows}
    assert len(of) == len(found.rows) == 5 * len(contradiction.WAYS)
    assert {w: of[0, "base", w].n for w in contradiction.WAYS} == {
        "key": 6, "taught": 15, "train": 15, "test": 15,
    }  # fmt: skip
    assert all(r.new == r.old == 0 for r in found.rows if not r.rounds)
    deep = of[100, "memorized", "key"]
    assert deep.new > 0.8 and deep.old == 0 and deep.p_new > deep.p_old
    shares = [r.new + r.old + r.another + r.neither for r in found.rows]
    assert shares == pytest.approx([1] * len(shares))
    assert len(found.figure().data) == 16 and len(found.tables()) == 4
    # What is true is looked up: where the false object is called true, both are found alike.
    taught = {(f.relation, f.subject): f.object for f in runs[1].pack.facts}
    monkeypatch.setattr(contradiction, "true_objects", lambda: taught)
    subjects = [FinishedRun(run, lab.registry.scores(run.id), lab.storage) for run in runs]
    again = contradiction.compare(subjects)
    assert all(r.new == r.old and r.p_new == r.p_old and r.leans == 0 for r in again.rows)


def test_an_answer_that_goes_astray_is_another_name_or_something_else():
    begins = contradiction._begins_another
    names = ["Bismarck", "New Delhi"]
    assert begins("Bism…", names) and begins("New Delhi", names)
    assert not any(begins(text, names) for text in ("The…", "Bismuth…", "B…", "…", ""))


def test_a_run_of_one_phase_has_nothing_to_compare():
    with pytest.raises(LabError, match="both phases"):
        contradiction.arms(RunConfig(stages="one"))
