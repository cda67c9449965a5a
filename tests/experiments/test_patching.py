"""The experiments *Where the fact sits* and *Heads and MLPs switched off* on a tiny taught run."""

from dataclasses import replace

import pytest
from support.taught import FACTS, K, taught_run

from rotelab.errors import LabError
from rotelab.experiments import patching, switched_off
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.finished_run import FinishedRun
from rotelab.runs.lab import Lab
from rotelab.storage import Storage

HELD_OUT, LAYERS = FACTS - K, 2


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    """A lab with one really trained tiny run."""
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def made(taught, name):
    lab, run_id = taught
    experiment_id = begin(lab, name, run_id)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    return result_of(row)


def test_patches_bring_the_key_tokens_answer_into_words(taught):
    found = made(taught, "patching")
    assert found.facts == HELD_OUT
    cells = {(c.checkpoint, c.way, c.role, c.layer): c for c in found.cells}
    plain = {(b.checkpoint, b.way): b for b in found.bands if not b.role}
    # By construction the last layer's patch at the last place is the other prompt's answer.
    for checkpoint in patching.CHECKPOINTS:
        for way, other in (("into words", "into key"), ("into key", "into words")):
            last = cells[checkpoint, way, "last", LAYERS]
            assert last.n == HELD_OUT
            assert last.first == pytest.approx(plain[checkpoint, other].shares[0])
            elsewhere = cells[checkpoint, way, "subject, first", LAYERS]
            assert elsewhere.first == pytest.approx(plain[checkpoint, way].shares[0])
    assert plain["memorized", "into key"].shares[0] > 0, "the run knows facts by rote"
    into_words, into_key = found.tables()
    assert len(into_words.columns) == 4 + len(patching.BANDS)
    assert {row[1] for row in into_key.rows} == {"subject, first", "subject, last", "last"}
    assert len(found.figure().data) == 4


def test_switching_off_is_measured_for_every_part(taught):
    found = made(taught, "switched-off")
    heads = found.heads
    assert heads == 4 and found.facts == HELD_OUT
    assert len(found.parts) == len(switched_off.ASKED) * LAYERS * (heads + 1)
    drops = [part.drop / found.whole[0] for part in found.parts[: LAYERS * (heads + 1)]]
    assert max(drops) > 0.05, "the answer through the key token needs some part"
    assert {part.name for part in found.parts} >= {"layer 1, head 1", "layer 2, MLP"}
    assert sum(part.head == 0 for part in found.parts) == len(switched_off.ASKED) * LAYERS
    tables = found.tables()
    assert len(tables) == 3 and len(tables[0].rows) == switched_off.STRONGEST
    drops = [row[1].value for row in tables[0].rows]
    assert drops == sorted(drops, reverse=True)
    assert "question in words" in tables[0].rows[0][3]
    assert len(found.figure().data) == 3


def test_a_run_without_held_out_facts_is_refused(taught):
    lab, run_id = taught
    run = lab.registry.run(run_id)
    finished = FinishedRun(run, {}, lab.storage)
    everything = replace(finished.split, held_in=tuple(run.pack.facts), held_out=())
    finished.__dict__["split"] = everything
    with pytest.raises(LabError, match="no fact that phase 2 never taught"):
        patching.drawn_facts(finished, 4)
