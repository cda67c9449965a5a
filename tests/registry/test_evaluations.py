"""The registry's evaluations: scores, answers and similarities, replaced whole or not at all."""

import math
import sqlite3

import pytest
from sqlite_utils import Database
from support.registry_tools import meddle
from support.rows import prediction

from rotelab.evaluation.results import OUTCOMES, Damage, QuizAnswer, Score, Similarity
from rotelab.registry import Registry, forgetting
from rotelab.registry.migrations import migrations


def test_an_evaluation_is_replaced_whole_or_not_at_all(registry, run):
    first = {"key_token": Score(2, 0.5, 0.25), "unrelated": Score(1, 0.0, math.nan)}
    registry.add_evaluation(run, "memorized", first, [prediction(0), prediction(1, rank=3)])
    registry.add_evaluation(run, "base", {"key_token": Score(1, 0, 0)}, [prediction(5)])
    assert list(registry.scores(run)) == ["base", "memorized"]
    assert math.isnan(registry.scores(run)["memorized"]["unrelated"].object_probability)

    broken = [prediction(7), prediction(8, answer=None)]
    with pytest.raises(sqlite3.IntegrityError):
        registry.add_evaluation(run, "memorized", {"key_token": Score(9, 1, 1)}, broken)
    assert registry.scores(run)["memorized"]["key_token"] == first["key_token"]
    assert [(p.fact_index, p.rank) for p in registry.predictions(run, "memorized")] == [
        (0, None), (1, 3),
    ]  # fmt: skip

    registry.add_evaluation(run, "memorized", {"test": Score(1, 1, 1)}, [prediction(9)])
    assert registry.scores(run)["memorized"] == {"test": Score(1, 1.0, 1.0)}
    assert [p.fact_index for p in registry.predictions(run)] == [5, 9]


def test_what_was_not_asked_for_is_none_and_what_was_comes_back(registry, run):
    plain, full = Score(2, 0.5, 0.25), Score(2, 0.5, 0.25, 1.0, 0.75, 0.0)
    rows = [
        prediction(0),
        prediction(1, chosen=True, rank=0, normalized=0.5, contains=False, generated="I said so"),
        prediction(2, chosen=False, contains=True),
    ]
    registry.add_evaluation(run, "base", {"key_token": plain, "unrelated": full}, rows)
    assert registry.scores(run)["base"] == {"key_token": plain, "unrelated": full}
    found = registry.predictions(run)
    assert [(p.chosen, p.rank, p.normalized, p.contains, p.generated) for p in found] == [
        (None, None, None, None, None), (True, 0, 0.5, False, "I said so"),
        (False, None, None, True, None),
    ]  # fmt: skip
    assert found[1].chosen is True and found[2].contains is True
    assert [p.fact_index for p in registry.predictions(run, search="SAID so")] == [1]


def test_scores_of_an_older_file_stay(storage):
    storage.home.mkdir()
    db = Database(storage.database)
    migrations.apply(db, stop_before="m005_choice")
    db.execute("INSERT INTO contents VALUES ('sha256:x', 'a', 'b')")
    db.execute(
        "INSERT INTO runs (id, created, pack_name, model, seed, device, content_hash, config) "
        "VALUES ('old', '', 'mother', 'embedded', 0, 'cpu', 'sha256:x', '{}')"
    )
    db.execute("INSERT INTO scores VALUES ('old', 'base', 'key_token', 3, 0.5, 0.25)")
    db.conn.commit()
    db.close()
    assert Registry(storage).scores("old") == {"base": {"key_token": Score(3, 0.5, 0.25)}}


def test_predictions_are_filtered(registry, run):
    rows = [
        prediction(i, correct=i % 2 == 0, answer=f"100% {i}", probe="ab"[i % 2]) for i in range(6)
    ]
    registry.add_evaluation(run, "generalized", {}, rows)

    def found(**how):
        return [p.fact_index for p in registry.predictions(run, **how)]

    assert found(probe="a") == [0, 2, 4] and found(outcome="wrong") == [1, 3, 5]
    assert found(outcome="right") == [0, 2, 4] and found(outcome="leak") == []
    assert (
        found(search="0% 3") == [3] and found(search="person 2") == [2] and found(search="_") == []
    )
    assert found(limit=2, offset=3) == [3, 4] and found(limit=-1) == list(range(6))
    assert found(checkpoint="base") == [] and registry.count_predictions(run, probe="b") == 3
    assert registry.predictions(run)[0] == prediction(
        0, answer="100% 0", probe="a", checkpoint="generalized"
    )


def test_predictions_are_filtered_by_what_became_of_them(registry, run):
    rows = [
        prediction(i, correct=i % 2 == 0, probe=probe)
        for i, probe in enumerate(["key_token"] * 2 + ["unrelated"] * 2 + ["old_unrelated"] * 2)
    ]
    registry.add_evaluation(run, "generalized", {}, rows)
    found = {o: registry.predictions(run, outcome=o) for o in OUTCOMES}
    assert {o: [p.fact_index for p in one] for o, one in found.items()} == {
        "right": [0], "wrong": [1], "leak": [2, 4], "no-leak": [3, 5],
    }  # fmt: skip
    assert all(p.outcome == o for o, one in found.items() for p in one)
    assert all(registry.count_predictions(run, outcome=o) == len(found[o]) for o in OUTCOMES)


def test_similarities(registry, run):
    registry.add_similarities(run, [Similarity("generalized", 1, "test", 0.5)])
    registry.add_similarities(run, [Similarity("base", 2, "test", 0.1)])
    registry.add_similarities(run, [Similarity("generalized", 1, "test", 0.75)])
    assert registry.similarities(run) == [
        ("base", 2, "test", 0.1),
        ("generalized", 1, "test", 0.75),
    ]


def test_the_list_shows_the_test_accuracy(registry, run):
    assert registry.runs()[0].test_accuracy is None
    scores = {"test_prompts_heldout": Score(10, 0.7, 0.6)}
    registry.add_evaluation(run, "generalized", scores, [])
    assert registry.runs()[0].test_accuracy == registry.run(run).test_accuracy == 0.7


def quiz(checkpoint, *right):
    return [
        QuizAnswer(checkpoint, i, f"Land {i}'s capital is", f"City {i}", f"said {i}", good)
        for i, good in enumerate(right)
    ]


def test_forgetting_is_stored_with_its_single_answers_or_not_at_all(registry, run):
    row = Damage("lesson-01", 40.0, 9, 0.5, 2, 0.1, 3)
    registry.add_damage(run, row, quiz("lesson-01", True, False))
    registry.add_damage(run, row._replace(checkpoint="base"), quiz("base", True, True))
    assert list(registry.quiz_answers(run)) == ["base", "lesson-01"]
    assert registry.quiz_answers(run)["lesson-01"] == quiz("lesson-01", True, False)

    again = row._replace(quiz=1.0)
    broken = [quiz("lesson-01", True)[0]._replace(said=None)]
    with pytest.raises(sqlite3.IntegrityError):
        registry.add_damage(run, again, broken)
    assert registry.damage(run)["lesson-01"] == row
    assert len(registry.quiz_answers(run)["lesson-01"]) == 2
    registry.add_damage(run, again)
    assert registry.damage(run)["lesson-01"] == again
    assert list(registry.quiz_answers(run)) == ["base"], "no answer of an older measurement stays"


def test_an_older_file_gets_a_table_for_single_answers(storage):
    storage.home.mkdir()
    db = Database(storage.database)
    migrations.apply(db, stop_before="m013_quiz_answers")
    db.execute("INSERT INTO contents VALUES ('sha256:x', 'a', 'b')")
    db.execute(
        "INSERT INTO runs (id, created, pack_name, model, seed, device, content_hash, config) "
        "VALUES ('old', '', 'mother', 'embedded', 0, 'cpu', 'sha256:x', '{}')"
    )
    db.execute("INSERT INTO damage VALUES ('old', 'base', 20.0, 9, 0.5, 2, 0.0, 0)")
    db.conn.commit()
    db.close()
    registry = Registry(storage)
    assert registry.damage("old") == {"base": Damage("base", 20.0, 9, 0.5, 2, 0.0, 0)}
    assert registry.quiz_answers("old") == {}


def test_forgetting_of_finished_runs_of_a_model(registry, storage, run, monkeypatch):
    row = Damage("base", 20.0, 9, 1.0, 2, 0.0, 0)
    registry.add_damage(run, row)
    model = registry.run(run).model
    assert registry.finished_damage(model) == [], "it is not finished"
    registry.set_status(run, "running")
    registry.set_status(run, "finished")
    assert registry.finished_damage(model) == [(registry.run(run).config, {"base": row})]
    assert registry.finished_damage("another") == []
    monkeypatch.setattr(forgetting, "MOST_DAMAGED", 0)
    assert registry.finished_damage(model) == [], "only so many are read"
    monkeypatch.undo()
    meddle(storage, "UPDATE runs SET config = '{' WHERE id = ?", [run])
    assert registry.finished_damage(model) == []
