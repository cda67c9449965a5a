"""Real facts before and after: what a run lost by name, and what a recipe cost in earlier runs."""

import json

import pytest
from support.command_line import rotelab
from support.fabricated import finished
from support.registry_tools import meddle

from rotelab.config.recipes import applied
from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.evaluation.results import Damage, QuizAnswer
from rotelab.reports.forgotten import (
    known_before,
    lost_by,
    real_fact_tables,
    real_facts,
    real_facts_json,
    recipe_cost,
)


def quiz(**right):
    """Answers by checkpoint; a truth value for each question."""
    return {
        checkpoint.replace("_", "-"): [
            QuizAnswer(checkpoint.replace("_", "-"), i, f"Q{i} is", f"A{i}",
                       f"A{i}" if good else f"not A{i}", good)
            for i, good in enumerate(values)
        ]
        for checkpoint, values in right.items()
    }  # fmt: skip


YES, NO = True, False
ASKED = quiz(
    base=[YES, YES, NO, YES, NO],
    memorized=[YES, NO, NO, NO, NO],
    generalized=[YES, NO, YES, YES, NO],
    lesson_01=[NO, NO, YES, YES, NO],
)


def test_lost_facts_come_first_whatever_the_checkpoints_are_called():
    facts = real_facts(ASKED)
    assert [(f.expected, f.fate) for f in facts] == [
        ("A0", "lost"), ("A1", "lost"), ("A4", "never known"), ("A2", "new"), ("A3", "kept"),
    ]  # fmt: skip
    assert known_before(facts) == 3
    lost = {c: [f.expected for f in lost_by(facts, c)] for c in list(ASKED)[1:]}
    assert lost == {"memorized": ["A1", "A3"], "generalized": ["A1"], "lesson-01": ["A0", "A1"]}
    assert facts[0].sentence == "Q0 is A0"


def test_midway_there_is_something_to_compare_already():
    midway = {c: ASKED[c] for c in ("base", "memorized")}
    assert [f.expected for f in real_facts(midway) if f.fate == "lost"] == ["A1", "A3"]
    assert real_facts({"base": ASKED["base"]}) == [], "nothing was trained yet"
    assert real_facts({}) == []


def test_a_lesson_is_compared_with_the_run_that_it_continues():
    lesson = {c: ASKED[c] for c in ("generalized", "lesson-01")}
    assert [f.expected for f in real_facts(lesson) if f.fate == "lost"] == ["A0"]
    assert known_before(real_facts(lesson)) == 3


def test_a_question_that_only_one_version_asked_is_left_out():
    asked = quiz(base=[YES, YES, NO], generalized=[YES, NO])
    assert [f.expected for f in real_facts(asked)] == ["A1", "A0"]


def test_a_report_counts_and_names_the_lost():
    counts, lost = real_fact_tables("run-1", real_facts(ASKED))
    assert [row[1:] for row in counts.rows] == [(1, 2), (2, 1), (1, 2)]
    assert counts.rows[0][0] == "memorised"
    assert "5 asked, 3 known" in counts.title and "2 real facts lost" in lost.title
    assert lost.rows[1] == ("Q1 is A1", "not A1", "not A1", "not A1")
    assert real_fact_tables("run-1", []) == []
    (only,) = real_fact_tables("run-1", real_facts(quiz(base=[YES], generalized=[YES])))
    assert only.rows == (("generalised", 1, 0),)
    first = real_facts_json(real_facts(ASKED))[0]
    assert (first["question"], first["expected"], first["fate"]) == ("Q0 is", "A0", "lost")
    assert first["answers"]["lesson-01"] == {"said": "not A0", "correct": False}


def test_report_on_the_command_line(lab):
    run_id = finished(lab)
    said = rotelab("report", run_id)
    assert said.code == 0 and "57 asked, 57 known before" in said.out
    assert "The capital of Land 56 is City 56" in said.out and "a river near 56" in said.out
    assert "Land 0 is" not in said.out, "only the lost ones are named"
    found = json.loads(rotelab("report", run_id, "--json").out)
    assert len(found["real_facts"]) == 57
    assert sum(fact["fate"] == "lost" for fact in found["real_facts"]) == 19


# What a recipe cost ------------------------------------------------------------------------------


def cost(lab, run_id, quiz, perplexity, before=1.0):
    lab.registry.add_damage(run_id, Damage("base", 20.0, 9, before, 57, 0.0, 0))
    after = Damage("generalized", perplexity, 9, quiz, 57, 0.1, 9)
    lab.registry.add_damage(run_id, after)


def test_earlier_runs_with_the_recipe_are_summed_up(lab, storage):
    assert recipe_cost(lab.registry, RunConfig()) is None
    for share, perplexity in ((0.5, 22.0), (0.9, 30.0), (0.8, 60.0)):
        cost(lab, finished(lab), share, perplexity)
    other = applied("lora-all", RunConfig())
    cost(lab, finished(lab, memorize=other.memorize), 0.0, 900.0)  # neither recipe: its own
    for config in (RunConfig(), RunConfig(pack="five", generalize=GeneralizeConfig(k=3))):
        found = recipe_cost(lab.registry, config)
        assert (found.runs, found.kept, found.perplexity) == (3, 0.8, 1.5), "k is no part of it"
    assert recipe_cost(lab.registry, other) is None
    meddle(storage, "UPDATE runs SET imported = '2026-01-01', archived = 1")
    assert recipe_cost(lab.registry, RunConfig()).runs == 3, "imported runs count"
    meddle(storage, "UPDATE runs SET model = 'another'")
    assert recipe_cost(lab.registry, RunConfig()) is None


@pytest.mark.parametrize(
    ("quiz", "perplexity", "before", "kept"),
    [(0.3, 30.0, 0.5, 0.6), (0.6, 30.0, 0.5, 1.0), (0.0, 30.0, 0.0, None),
     (0.5, float("nan"), 1.0, None)],
)  # fmt: skip
def test_it_is_measured_by_what_the_model_knew(lab, quiz, perplexity, before, kept):
    cost(lab, finished(lab), quiz, perplexity, before)
    found = recipe_cost(lab.registry, RunConfig())
    assert (found and found.kept) == (kept if kept is None else pytest.approx(kept))


def test_a_run_that_was_stopped_says_nothing(lab):
    cost(lab, finished(lab, status="stopped"), 0.5, 30.0)
    assert recipe_cost(lab.registry, RunConfig()) is None
