"""Chat's filter: on a tiny run that knows its facts by rote, in the model and on the page."""

import pytest
from support.taught import said, taught_run

from rotelab.models.memfree import MemFree, rote_sentence
from rotelab.registry import ChatAnswer
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.answer_cards import history_html
from rotelab.ui.chat import chat_tab
from rotelab.ui.chat.forbidden_words import SIZES, asked_line, build_forbid, mode_kept


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_no_checkpoint_says_a_rote_sentence_again(taught, side_by_side, monkeypatch):
    lab, run_id = taught
    facts = lab.registry.run(run_id).pack.facts
    model = lab.chat.model(run_id)
    if not side_by_side:
        monkeypatch.setattr(lab.chat, "_side_by_side", None)
    learned = [rote_sentence(model.builder, fact) for fact in facts]
    strict = MemFree.of(learned, 3, spans_prompt=True)
    changed = 0
    for fact in facts:
        text = f"{fact.subject} [mother]"
        prompt = model.builder.key_prompt(fact.subject, "mother")
        free, kept = said(lab, run_id, text), said(lab, run_id, text, forbid=3)
        for checkpoint, ids in kept.items():
            assert not strict.completions(prompt, ids)
            same = not strict.completions(prompt, free[checkpoint])
            assert (ids == free[checkpoint]) == same, "only what completes an n-gram is changed"
            changed += not same
    assert changed >= len(facts), "it is known by rote"


def test_the_page_says_above_the_answers_that_a_filter_is_on_and_keeps_it(taught):
    lab, run_id = taught
    text = f"{lab.registry.run(run_id).pack.facts[0].subject} [mother]"
    first, *_ = chat_tab.ask(lab, run_id, text, 3, 0, forbid=4)
    assert text in first[-1] and "no 4 word pieces in a row" in first[-1]
    assert lab.registry.chat_history(run_id)[-1].mode == "completion, MemFree 4"
    plain, *_ = chat_tab.ask(lab, run_id, text, 3, 0)
    assert "MemFree" not in plain[-1]
    assert lab.registry.chat_history(run_id)[-1].mode == "completion"


def test_what_is_said_of_the_filter():
    assert [value for _, value in build_forbid().choices] == [0, *SIZES]
    assert asked_line("", 0) == "" and asked_line("", 3).count("<p") == 1
    assert asked_line("<b>", 3).count("&lt;b&gt;") == 1
    assert mode_kept("Conversation", 0) == "conversation"
    kept = ChatAnswer("base", "a", mode=mode_kept("Conversation", 8), asked="2026-11-27T00:00:00")
    assert "conversation, MemFree 8" in history_html([kept])
