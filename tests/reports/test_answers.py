"""Single answers: their wordings, groups of them with the worst first, and tables."""

import csv
import io
import json

import pytest

from rotelab.errors import LabError
from rotelab.evaluation.results import Prediction
from rotelab.facts.prompts import PromptTemplate
from rotelab.reports.answers import (
    ANSWER_COLUMNS,
    Wordings,
    answer_rows,
    group_rows,
    groups_of,
)
from rotelab.reports.intervals import interval, share_interval

ASK, WHOSE, LIVES = "The mother of {subject} is", "Whose child is {subject}?", "Where is she?"
PROMPTS = (
    PromptTemplate("mother", "train", "en", ASK),
    PromptTemplate("mother", "test", "en", WHOSE),
    PromptTemplate("mother", "unrelated", "en", LIVES),
    PromptTemplate("boss", "train", "en", ASK),
)


def said(subject, wording, correct, probe="test_prompts_heldout", **other):
    """An answer of `generalized` about a subject's mother, in a wording."""
    prompt = wording.replace("{subject}", subject)
    fields = {"checkpoint": "generalized", "probability": 0.5} | other
    return Prediction(
        probe, 0, "mother", subject, f"{subject}'s mother", prompt, "x", correct, **fields
    )


def test_a_prompt_s_wording_is_found():
    wordings = Wordings(PROMPTS)
    assert wordings.of(said("Ann", WHOSE, True)) == WHOSE
    # The subject's own letters come in the wording too.
    assert wordings.of(said("is", ASK, True)) == ASK
    assert wordings.of(said("mother", ASK, True)) == ASK
    # Of a wording without a place for the subject, it is the prompt itself.
    assert wordings.of(said("she", LIVES, False, "unrelated")) == LIVES
    key = said("Ann", "Ann [mother]", True, "key_token")
    assert wordings.of(key) == "{subject} [mother]"
    # The run's wordings may lack it, as for a lesson's old facts.
    assert Wordings().of(said("Ann", ASK, True)) == ASK
    assert Wordings().of(said("Ann", "Who knows?", True)) == "Who knows?"


def test_the_wording_that_fails_comes_first():
    names = [f"Person {i}" for i in range(10)]
    answers = [said(name, ASK, i < 9) for i, name in enumerate(names)]
    answers += [said(name, WHOSE, i < 3) for i, name in enumerate(names)]
    worst, best = groups_of(answers, "wording", PROMPTS)
    assert (worst.key, worst.count, worst.n, worst.facts) == (("mother", WHOSE), 3, 10, 10)
    assert best.key == ("mother", ASK) and best.share == 0.9 and best.wordings == 1
    # Facts are drawn, as for every other figure: each was asked once in this wording.
    by_fact = {("mother", n, f"{n}'s mother"): (float(i < 3), 1) for i, n in enumerate(names)}
    assert worst.interval == interval(by_fact)
    assert worst.interval.low < worst.share < worst.interval.high < best.share


def test_the_fact_that_fails_comes_first_and_more_questions_weigh_more():
    answers = [said("Ann", ASK, False), said("Bo", ASK, True), said("Cy", ASK, False)]
    answers += [said("Bo", WHOSE, False), said("Cy", WHOSE, False)]
    groups = groups_of(answers, "fact", PROMPTS)
    assert [(g.key[1], g.count, g.n, g.wordings) for g in groups] == [
        ("Cy", 0, 2, 2), ("Ann", 0, 1, 1), ("Bo", 1, 2, 2),
    ]  # fmt: skip
    assert [g.interval for g in groups] == [
        share_interval(0, 2), share_interval(0, 1), share_interval(1, 2),
    ]  # fmt: skip


def test_where_the_object_must_not_come_a_leak_is_the_bad_one():
    leaks = [said(name, LIVES, name == "Bo", "unrelated") for name in ("Ann", "Bo", "Cy")]
    assert [a.outcome for a in leaks] == ["no-leak", "leak", "no-leak"]
    worst, *_ = groups_of(leaks, "fact", PROMPTS)
    assert (worst.key[1], worst.share) == ("Bo", 0.0)
    (wording,) = groups_of(leaks, "wording", PROMPTS)
    assert (wording.count, wording.n) == (2, 3)


def test_kinds_of_questions_and_checkpoints_are_never_mixed():
    answers = [
        said("Ann", ASK, True, "train_prompts_heldin"),
        said("Ann", ASK, True, "train_prompts_heldout"),
        said("Ann", ASK, True, "train_prompts_heldin", checkpoint="base"),
    ]
    groups = groups_of(answers, "wording", PROMPTS)
    assert [(g.checkpoint, g.probe, g.n) for g in groups] == [
        ("base", "train_prompts_heldin", 1),
        ("generalized", "train_prompts_heldin", 1),
        ("generalized", "train_prompts_heldout", 1),
    ]


def test_outcomes_are_shares_of_all_answers():
    answers = [said(f"P {i}", ASK, i < 3) for i in range(4)]
    answers += [said(f"P {i}", LIVES, i < 1, "unrelated") for i in range(4)]
    groups = groups_of(answers, "outcome", PROMPTS)
    assert [(g.probe, *g.key, g.count, g.n, g.share) for g in groups] == [
        ("test_prompts_heldout", "wrong", 1, 4, 0.25),
        ("test_prompts_heldout", "right", 3, 4, 0.75),
        ("unrelated", "leak", 1, 4, 0.25),
        ("unrelated", "no-leak", 3, 4, 0.75),
    ]
    for group in groups:
        assert group.interval.low < group.share < group.interval.high


def test_nothing_and_an_unknown_grouping():
    assert groups_of([], "fact") == [] and answer_rows([]).rows == []
    with pytest.raises(LabError, match="wording, fact, outcome"):
        groups_of([], "colour")


def test_tables_hold_every_cell_as_it_is():
    nasty = '=1+1, "so" he said\nand went'
    rows = answer_rows(
        [said(nasty, ASK, True, chosen=False, probability=float("nan"))], PROMPTS
    )  # fmt: skip
    (read,) = csv.DictReader(io.StringIO(rows.as_csv()))
    assert tuple(read) == ANSWER_COLUMNS
    assert (read["subject"], read["wording"], read["outcome"]) == (nasty, ASK, "right")
    assert (read["chosen"], read["rank"], read["contains"]) == ("0", "", "")
    (same,) = json.loads(rows.as_json())
    assert same["subject"] == nasty and same["chosen"] is False and same["rank"] is None
    assert same["probability"] is None, "JSON has no NaN"


def test_groups_as_a_table():
    groups = groups_of([said("Ann", ASK, True), said("Bo", ASK, False)], "fact", PROMPTS)
    rows = group_rows(groups, "fact")
    assert rows.columns[:5] == ("checkpoint", "probe", "relation", "subject", "object")
    (first, _) = json.loads(rows.as_json())
    assert (first["subject"], first["share"], first["count"], first["n"]) == ("Bo", 0.0, 0, 1)
    assert first["low"] <= first["share"] <= first["high"]
    assert rows.of("n", "subject").rows == [(1, "Bo"), (1, "Ann")]
