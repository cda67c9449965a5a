"""Patching one fact on the page: what is offered, what is drawn and said."""

import gradio as gr
import numpy as np
import pytest
from support.fabricated import finished
from support.taught import taught_run

from rotelab.errors import LabError
from rotelab.facts.facts import Fact
from rotelab.runs.asking import patched
from rotelab.runs.asking.patched import PatchedFact
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.inside import patching_panel


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    """A lab with one really trained tiny run."""
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_held_out_facts_and_new_wordings_are_offered_first(lab):
    run = lab.registry.run(finished(lab))
    fact, wording, said, figure = patching_panel.offer_facts(lab, run.id)
    held_out = set(run.config.split(run.pack.facts).held_out)
    offered = [run.pack.facts[index] in held_out for _, index in fact.choices]
    assert offered == sorted(offered, reverse=True) and len(offered) == 20
    first = run.pack.facts[fact.value]
    assert wording.value == run.pack.prompts.of("mother", "test")[0].render(first.subject)
    assert said == "" and not figure.visible
    other = patching_panel.offer_wordings(lab, run.id, 3, wording.value)
    assert run.pack.facts[3].subject in other.value
    (_, chosen) = other.choices[-1]
    again = patching_panel.offer_wordings(lab, run.id, 3, chosen)
    assert again == gr.skip(), "a chooser that is left says its fact again; the question stays"
    assert patching_panel.offer_wordings(lab, "gone", 3, None) == gr.skip()
    assert patching_panel.offer_facts(lab, None)[0].choices == []
    with pytest.raises(LabError, match="Choose a run"):
        patching_panel.patch(lab, run.id, 0, None, "base", "into words")


def test_a_fact_is_patched_with_the_models_own_answers_at_the_end(taught, monkeypatch):
    lab, run_id = taught
    fact, wording, *_ = patching_panel.offer_facts(lab, run_id)
    about = (run_id, fact.value, wording.value, "memorized")
    said, figure = patching_panel.patch(lab, *about, "into words")
    assert figure.visible and "By itself the question gives" in said
    run = lab.registry.run(run_id)
    known = run.pack.facts[fact.value]
    found = patched.patch_fact(lab.chat, run, known, wording.value, "memorized", "into words")
    assert found.probability[-1, -1] == pytest.approx(found.source[0], rel=1e-3)
    assert found.source[1], "the run knows it by rote"
    assert found.probability[-1, 0] == pytest.approx(found.plain[0], rel=1e-3)
    back = patched.patch_fact(lab.chat, run, known, wording.value, "memorized", "into key")
    assert back.probability[-1, -1] == pytest.approx(found.plain[0], rel=1e-3)
    assert back.plain[0] == pytest.approx(found.source[0], rel=1e-3)
    monkeypatch.setattr(patched, "MOST_TOKENS", 3)
    with pytest.raises(LabError, match="Choose a shorter wording"):
        patching_panel.patch(lab, *about, "into words")


def test_the_sentence_says_where_the_answer_comes_and_escapes_names():
    probability = np.array([[0.1, 0.2], [0.1, 0.9]])
    found = PatchedFact(
        ("a", "<b>"), (2, 4), probability, probability > 0.5, (0.05, False), (0.95, True), "Am"
    )
    said = patching_panel.said_html(found, Fact("mother", "x", "<i>"), "into words")
    assert "90 %: layer 4, at “&lt;b&gt;”" in said and "from layer 4 on" in said
    assert "&lt;i&gt;" in said and "key token 95 %" in said


def test_of_many_layers_every_second_one_is_looked_at_the_last_among_them():
    assert patched.looked_at(2) == [0, 1] and patched.looked_at(16) == list(range(16))
    assert patched.looked_at(30) == list(range(1, 30, 2))
    assert patched.looked_at(17)[-1] == 16 and len(patched.looked_at(17)) == 9
