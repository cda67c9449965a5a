"""Chat's look-up among memorised states: on a tiny run that knows its facts by rote."""

from dataclasses import replace

import pytest
from support.taught import said, taught_run

from rotelab.errors import LabError
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.chat import chat_tab
from rotelab.ui.chat.forbidden_words import asked_line, mode_kept
from rotelab.ui.chat.looked_up import SHARES, build_look_up


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_the_store_alone_finds_what_is_stored_whoever_is_asked(taught, side_by_side, monkeypatch):
    lab, run_id = taught
    facts = lab.registry.run(run_id).pack.facts
    model = lab.chat.model(run_id)
    if not side_by_side:
        monkeypatch.setattr(lab.chat, "_side_by_side", None)
    changed = 0
    for fact in list(facts)[:3]:
        text = f"{fact.subject} [mother]"
        example = model.builder.rote(fact, 0)
        first = example.ids[example.object_span[0]]
        found, free = said(lab, run_id, text, look_up=1.0), said(lab, run_id, text)
        assert [ids[0] for ids in found.values()] == [first] * len(found)
        changed += found["base"] != free["base"]
    assert changed == 3, "the untouched model knew none of them"


def test_a_lesser_share_leaves_a_sure_model_its_word(taught):
    lab, run_id = taught
    fact = lab.registry.run(run_id).pack.facts[0]
    text = f"{fact.subject} [mother]"
    assert said(lab, run_id, text, look_up=0.2)["memorized"] == said(lab, run_id, text)["memorized"]


def test_a_question_that_is_too_long_is_refused_with_its_reason(taught, monkeypatch):
    lab, run_id = taught
    model = lab.chat.model(run_id)
    monkeypatch.setattr(model, "limit", replace(model.limit, most=3))
    with pytest.raises(LabError, match="long"):
        said(lab, run_id, "Who is the mother of somebody?", look_up=0.5)


def test_the_page_says_above_the_answers_what_is_looked_up_and_keeps_it(taught):
    lab, run_id = taught
    text = f"{lab.registry.run(run_id).pack.facts[0].subject} [mother]"
    first, *_ = chat_tab.ask(lab, run_id, text, 3, 0, look_up=0.5, forbid=4)
    assert "RetroPrompt" in first[-1] and "they count 50%" in first[-1]
    kept = lab.registry.chat_history(run_id)[-1].mode
    assert kept == mode_kept("Completion", 4, 0.5) == "completion, RetroPrompt 0.5, MemFree 4"
    assert "RetroPrompt" not in asked_line(text, 4)


def test_the_choice_begins_with_nothing():
    assert [value for _, value in build_look_up().choices] == [0.0, *SHARES]
    assert build_look_up().value == 0.0
