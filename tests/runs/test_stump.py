"""Stumping a model: what is kept of a wording, the score, and wordings that become prompts."""

from types import SimpleNamespace

import pytest

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.errors import LabError
from rotelab.evaluation.judging.judge import Verdict
from rotelab.registry import Stump
from rotelab.runs import worker
from rotelab.runs.asking.stump import (
    names_to_try,
    save_wordings,
    score,
    template_of,
    try_wording,
)


@pytest.fixture
def run(lab):
    config = RunConfig(facts=8, generalize=GeneralizeConfig(k=4))
    return lab.registry.run(lab.registry.create_run(config, lab.facts_for(config)))


@pytest.fixture
def answers(lab, monkeypatch):
    """Lets a run's model answer a text with a verdict."""

    def say(text, known="never in words"):
        def stream(run_id, question, who, tokens):
            assert who == ["base", "generalized"]
            for checkpoint, verdict in zip(who, (Verdict(), Verdict(known)), strict=True):
                yield SimpleNamespace(checkpoint=checkpoint, text=text, done=True, verdict=verdict)

        monkeypatch.setattr(lab.chat, "checkpoints", lambda run_id: ["base", "generalized"])
        monkeypatch.setattr(lab.chat, "stream", stream)

    return say


def test_what_was_tried_is_kept_with_the_run_and_counted(lab, run, answers):
    name = run.pack.facts[5].subject
    for known in ("never in words", "leak", "lost", "", "no fact", "leak"):
        answers("Ann\nand more", known)
        try_wording(lab, run.id, 5, f"  So {name}'s  mum is?")
    tried = lab.registry.stumps(run.id)
    assert [stump.number for stump in tried] == [1, 2, 3, 4, 5, 6]
    assert tried[0].question == f"So {name}'s mum is?" and tried[0].answer == "Ann"
    assert score(tried) == {"answered": 1, "missed": 1, "leaked": 2, "forgotten": 1}
    answers("\n\nToast\n", "not judged")
    breakfast = f"What does {name} eat for breakfast?"
    assert try_wording(lab, run.id, 5, breakfast).outcome == "missed"
    astray = try_wording(lab, run.id, 5, breakfast, astray=True)
    assert (astray.answer, astray.outcome) == ("Toast", "")
    assert "stumps" not in lab.registry.exported_columns()
    lab.registry.delete_run(run.id)
    assert lab.registry.stumps(run.id) == []


def test_what_can_not_be_tried_is_said(lab, run, answers):
    answers("Ann")
    name = run.pack.facts[0].subject
    for index, question, words in (
        (0, "  ", "Type a wording"), (-1, "Who?", "Choose a name"), (99, "Who?", "Choose a name"),
        (0, f"{name} [mother]", "by heart"),
    ):  # fmt: skip
        with pytest.raises(LabError, match=words):
            try_wording(lab, run.id, index, question)
    lab.chat.checkpoints = lambda run_id: ["base"]
    with pytest.raises(LabError, match="learned nothing"):
        try_wording(lab, run.id, 0, f"Who is {name}'s mother?")


def test_names_never_shown_in_words_come_first(run):
    held_out = run.config.split(run.pack.facts).held_out
    found = names_to_try(run)
    assert [fact for _, fact in found[:4]] == list(held_out) and len(found) == 8
    assert all(run.pack.facts[index] == fact for index, fact in found)


def test_the_wordings_become_prompts_of_an_own_copy(lab, run):
    facts = run.pack.facts
    a, b = facts[0].subject, facts[1].subject
    known = run.pack.prompts.of("mother", "test")[0].render(a)
    for question, outcome in (
        (f"And {a}'s mum?", "missed"), (f"and {b.upper()}'s mum?", "answered"),
        (f"Does {a} like fish?", "leaked"), ("No name at all?", "missed"),
        (f"{a}, {a}?", "missed"), ("Capital of Peru?", "forgotten"), (known, "answered"),
    ):  # fmt: skip
        index = 1 if b.casefold() in question.casefold() else 0
        lab.registry.add_stump(run.id, Stump(index, question, "generalized", "x", "", outcome))
    saved = save_wordings(lab, run.id)
    assert (saved.pack, saved.version, saved.count, saved.left_out) == ("my mother", 1, 2, 4)
    pack = lab.find_pack("my mother")
    assert pack.prompts.of("mother", "test")[-1].text == "And {subject}'s mum?"
    assert pack.prompts.of("mother", "unrelated")[-1].text == "Does {subject} like fish?"
    assert len(pack.facts) == len(lab.find_pack("mother").facts), "the whole pack, not the run's 8"
    with pytest.raises(LabError, match="No wording is new"):
        save_wordings(lab, run.id)
    tried = Stump(0, f"Now guess {a}'s mum", "generalized", "x", "", "missed")
    lab.registry.add_stump(run.id, tried)
    assert save_wordings(lab, run.id).version == 2, "into the same copy"
    assert "Now guess" not in lab.find_pack("mother").prompts.to_csv()


def test_braces_and_parts_of_words_are_no_names(run):
    name = run.pack.facts[0].subject
    for question in ("{subject} and " + name, f"x{name}y?", f"{name}s?"):
        tried = Stump(0, question, "generalized", "x", "", "missed")
        assert template_of(tried, run.pack.facts) is None


def test_a_real_run_is_asked(lab, quick):
    run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
    worker.work(lab.registry, lab.storage, run_id)
    name = lab.registry.run(run_id).pack.facts[0].subject
    tried = try_wording(lab, run_id, 0, f"Who is the mother of {name}?")
    assert tried.checkpoint == "generalized" and tried.outcome in ("answered", "missed")
    assert lab.registry.stumps(run_id)[0]._replace(asked="") == tried
