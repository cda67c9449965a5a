"""The experiment that gives memorised facts another meaning: its arms, and what it asks."""

from dataclasses import replace

import pytest

from rotelab.config.run_config import MemorizeConfig, RunConfig
from rotelab.errors import LabError
from rotelab.experiments import FinishedRun, repurposing, runner
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.facts.facts import FactSet
from rotelab.facts.packs import Pack, load_pack, shipped_packs


def test_the_other_meaning_takes_the_place_of_the_own_one_and_no_wording_is_in_both():
    own = {t.text for name in shipped_packs() for t in load_pack(name).prompts}
    assert not own & {t.text for t in repurposing.rival_wordings()}
    pack = load_pack("five")
    changed = repurposing.reworded(pack)
    assert changed.facts == pack.facts and changed.content_hash != pack.content_hash
    changed.check()
    for relation in pack.facts.relations:
        for role in ("train", "test"):
            texts = {t.text for t in changed.prompts.of(relation.name, role)}
            assert len(texts) == 10 and not texts & own
        for role in ("unrelated", "locality"):
            of = (relation.name, role)
            assert changed.prompts.of(*of) == pack.prompts.of(*of)


def test_both_meanings_are_asked_about_facts_that_no_arm_taught_in_words(lab, quick, monkeypatch):
    monkeypatch.setattr(repurposing, "EXAMPLES", (1, 2, 50))
    base = replace(quick, facts=6, generalize=replace(quick.generalize, k=3))
    experiment_id = begin(lab, "repurposing", config=base)
    row = lab.registry.experiment_row(experiment_id)
    assert [label for label, _ in row.arms] == ["own meaning, 3", "rival, 1", "rival, 2"]
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    runs = [lab.registry.run(run_id) for _, run_id in row.arms]
    assert len({run.pack.facts for run in runs}) == 1
    assert runs[0].pack.prompts != runs[1].pack.prompts == runs[2].pack.prompts
    assert runs[2].shared_phase1_from == runs[1].id, "the rote is the same, and done once"
    seen = {
        fact for run in runs for fact in run.pack.facts.split(run.config.generalize.k, 0).held_in
    }
    found = result_of(row)
    assert found.facts == 6 - len(seen) > 0
    arms = [("rote alone", 0), ("own meaning", 3), ("rival", 1), ("rival", 2)]
    assert list(dict.fromkeys((r.arm, r.examples) for r in found.rows)) == arms
    assert {(r.reading, r.role): r.n / found.facts for r in found.rows} == {
        ("key", ""): 1, ("own", "train"): 5, ("own", "test"): 5, ("rival", "train"): 5,
        ("rival", "test"): 5, ("unrelated", "unrelated"): 3,
    }  # fmt: skip
    assert len(found.tables()) == 3 and len(found.figure().data) == 10
    # Each line asks in its own reading's words: where the first arm's are asked, so are they.
    facts = [fact for fact in runs[0].pack.facts if fact not in seen]
    texts = {}
    for reading, role, _, text in repurposing._prompts(runs[0].pack, facts[:1], 0):
        texts.setdefault((reading, role), []).append(text)
    rival = {t.render(facts[0].subject) for t in repurposing.rival_wordings() if t.role == "test"}
    assert set(texts["rival", "test"]) < rival and not set(texts["own", "test"]) & rival
    monkeypatch.setattr(runner, "run_sweep", lambda *args: pytest.fail("all is there"))
    again = begin(lab, "repurposing", run_id=runs[0].id)
    assert lab.registry.experiment_row(again).arms == row.arms


def test_what_leaves_no_fact_to_ask_and_what_reads_words_by_rote_is_refused(lab, quick):
    with pytest.raises(LabError, match="without words"):
        repurposing.arms(RunConfig(memorize=MemorizeConfig(reads="both")))
    every = replace(quick, generalize=replace(quick.generalize, k=4), facts=4)
    pack = load_pack("mother")
    run = lab.registry.create_run(every, Pack("mother", FactSet(pack.facts[:4]), pack.prompts))
    with pytest.raises(LabError, match="none is left to ask"):
        repurposing.compare([FinishedRun(lab.registry.run(run), {}, lab.storage)])
