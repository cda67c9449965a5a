"""The experiment that teaches a finished run more: what it asks, leaves, writes and refuses."""

import math
from dataclasses import replace
from statistics import fmean

import pytest
from support.quick_runs import start
from support.taught import taught_pack, taught_run

from rotelab.config.lessons import LessonConfig
from rotelab.config.run_config import MemorizeConfig
from rotelab.errors import LabError
from rotelab.evaluation import forgetting, probes
from rotelab.evaluation.results import OLD
from rotelab.experiments import FinishedRun, later_lessons
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack, load_pack
from rotelab.facts.prompts import PromptSet
from rotelab.reports.formats import as_markdown
from rotelab.runs import worker
from rotelab.runs.lab import Lab
from rotelab.storage import Storage

TEST = "test_prompts_heldout"


def shortened(patch, **constants):
    """Short lessons of few facts, and little else to read."""
    usual = {
        "LESSON": LessonConfig(epochs=2, least_steps=2, rank=4), "SIZES": (1, 2), "SIZE": 2,
        "IN_A_ROW": 2, "EACH": 1,
    }  # fmt: skip
    for name, value in (usual | constants).items():
        patch.setattr(later_lessons, name, value)
    prose, asked, neutral = forgetting.texts()
    patch.setattr(forgetting, "texts", lambda: (prose[:1], asked[:3], neutral[:2]))


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_folder):
    """The experiment on a tiny run: its lab, its result, what each checkpoint answered in turn, and
    how many rows and files there were before it."""
    lab, asked = Lab.open(Storage(tmp_path_factory.mktemp("taught"))), []
    run_id = taught_run(lab, tiny_folder)
    before = contents(lab)
    evaluate = probes.evaluate

    def watched(model, questions, settings):
        found = []
        asked.append((model.checkpoint, questions, found, model.has))
        for some in evaluate(model, questions, settings):
            found += some
            yield some

    with pytest.MonkeyPatch.context() as patch:
        shortened(patch)
        patch.setattr(probes, "evaluate", watched)
        experiment_id = begin(lab, "later-lessons", run_id)
        shares = []
        carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    assert shares == sorted(shares) and 0.9 < shares[-1] <= 1
    return lab, result_of(row), asked, before


def contents(lab):
    """How many rows each table has, and the files of all runs."""
    with lab.registry.read() as db:
        rows = {t.name: t.count for t in db.tables if not t.name.startswith("sqlite_")}
    return rows, {p: p.read_bytes() for p in lab.storage.runs.rglob("*") if p.is_file()}


def test_every_way_is_a_row_with_what_it_was_asked(made):
    _, found, _, _ = made
    assert [(row.way, row.count, row.facts) for row in found.rows] == [
        ("lesson", 1, 1), ("lesson", 1, 2), ("next", 2, 2), ("rehearsed", 1, 2),
        ("unprotected", 1, 2), ("words", 1, 2), ("prompt", 1, 2),
    ]  # fmt: skip
    for row in found.rows:
        lesson = row.way not in ("words", "prompt")
        counts = [row.at(probe).n for probe in later_lessons.NEW]
        assert counts == [row.facts * lesson, row.facts, 5 * row.facts, 2 * row.facts]
        assert all(math.isnan(row.at(probe).before) for probe in later_lessons.NEW)
        assert (row.at(OLD + TEST).n > 0) == lesson == math.isfinite(row.room)
        assert math.isfinite(row.seconds) == (row.way != "prompt")
        assert row.at("quiz").n == 3 and row.at("perplexity").before > 1
    rooms = {row.way: row.room for row in found.rows}
    assert 0 < rooms["next"] < rooms["lesson"] < rooms["unprotected"] == rooms["rehearsed"] < 1
    trained = [row for row in found.rows if row.way != "prompt"]
    assert all(row.at("perplexity").after != row.at("perplexity").before for row in trained)
    prompted = found.rows[-1].at("perplexity")
    assert prompted.after == prompted.before == found.rows[-2].at("perplexity").before
    assert [r.lesson for r in found.in_a_row] == [0, 1, 2] and found.in_a_row[1].n == 10
    assert [len(table.rows) for table in found.tables()] == [7, 5, 5, 7, 3, 2]
    assert "| lesson of 2, old facts unprotected " in as_markdown(found.tables())
    new, old, before = found.figure().data
    assert len(new.y) == len(set(new.y)) == 6 and new.y == old.y == before.y


def test_old_facts_are_asked_the_same_before_and_after(made):
    _, found, asked, _ = made

    def old(questions):
        return {
            (q.probe, q.fact_index, q.text, q.example) for q in questions if q.probe.startswith(OLD)
        }

    (first, start, known, _), *rest = asked
    assert first == "generalized" and old(start) and len(old(start)) == len(start)
    single = [questions for checkpoint, questions, *_ in rest if checkpoint == "lesson-01"]
    assert len(single) == 4 and all(old(questions) == old(start) for questions in single)
    (second,) = [questions for checkpoint, questions, *_ in rest if checkpoint == "lesson-02"]
    taught = [q for q in single[-1] if OLD + q.probe in probes_of(start)]
    assert {key[1:] for key in old(second) - old(start)} == {
        (q.fact_index, q.text, q.example) for q in taught
    }
    # `before` and `after` are what those answers say.
    row = next(row for row in found.rows if row.way == "rehearsed")
    after = rest[0][2]
    for probe in probes_of(start):
        measured = row.at(probe)
        assert measured.before == fmean(p.correct for p in known if p.probe == probe)
        assert measured.after == fmean(p.correct for p in after if p.probe == probe)
    assert row.at(OLD + "key_token").before > 0.5, "it knew them by rote"
    # What the last lesson left is told of the same questions as right after each lesson.
    for lesson, answers in ((0, known), (1, rest[-4][2])):
        probe = TEST if lesson else OLD + TEST
        then = [p.correct for p in answers if p.probe == probe]
        assert (found.in_a_row[lesson].n, found.in_a_row[lesson].then) == (len(then), fmean(then))


def probes_of(questions):
    return {question.probe for question in questions}


def test_other_ways_are_asked_the_same_about_the_new_facts(made):
    _, _, asked, _ = made
    (prompted, words) = asked[-2:]
    assert [prompted[0], words[0]] == ["base", "memorized"]
    assert prompted[3] == ("base", "memorized", "generalized"), "every lesson is taken away"
    lesson = next(questions for _, questions, *_ in asked[1:] if len(questions) > 20)
    spoken = {
        (q.fact_index, q.text)
        for q in lesson
        if q.probe in (TEST, "unrelated")
    }  # fmt: skip
    assert {(q.fact_index, q.text) for q in words[1] if q.probe in (TEST, "unrelated")} == spoken
    for question in prompted[1]:
        told, _, text = question.text.rpartition("\n\n")
        assert text and told.count(f"{question.fact.subject} is {question.fact.object}.") == 1
    first = taught_pack().prompts.first("train", 10)
    read = {t.text for t in first if t.role == "train"}
    for question in words[1]:
        if question.probe == "train_prompts_heldout":
            assert question.text.replace(question.fact.subject, "{subject}") in read


def test_nothing_is_written_but_the_result(made):
    lab, _, _, (rows, files) = made
    now, left = contents(lab)
    assert left == files
    assert now == rows | {"experiments": rows["experiments"] + 1}


def test_own_names_are_recombined_and_each_relation_has_its_part(lab, quick, monkeypatch):
    shortened(monkeypatch, SIZES=(1, 50), SIZE=1, IN_A_ROW=1)
    mother = load_pack("mother")
    own = [Fact("boss", f"{a} {b}", f"{c} {d}") for a, b, c, d in (
        ("Ada", "Ek", "Uli", "Ost"), ("Bea", "Fox", "Vic", "Pau"), ("Cy", "Gil", "Wim", "Qua"),
    )]  # fmt: skip
    wordings = [replace(t, relation="boss") for t in mother.prompts]
    pack = Pack("two", FactSet([*own, *mother.facts[:3]]), PromptSet([*wordings, *mother.prompts]))
    config = replace(quick, facts=0, generalize=replace(quick.generalize, k=2))
    run_id = lab.registry.create_run(config, pack)
    lab.jobs.claim_foreground(run_id)
    worker.work(lab.registry, lab.storage, run_id)
    finished = FinishedRun(lab.registry.run(run_id), {}, lab.storage)
    found = later_lessons.measure(finished)
    (row,) = [row for row in found.rows if row.way == "relations"]
    assert (row.label, row.facts) == ("lesson of 2 in 2 relations", 2)
    assert [r.facts for r in found.rows if r.way == "lesson"] == [1]
    assert ["own names" in note for note in found.notes] == [True, False]
    assert "Only 6 could be made" in found.notes[1]


def test_what_cannot_be_taught_fails_in_words_and_a_stop_stops(lab, quick, monkeypatch):
    shortened(monkeypatch)
    bare = replace(quick, memorize=MemorizeConfig(reads="bare", epochs=1, rank=2, spare=0))
    for config, words in (
        (replace(quick, stages="one"), "two-adapter"),
        (replace(quick, method="full"), "two-adapter"),
        (bare, "without key tokens"),
    ):
        run = lab.registry.run(lab.registry.create_run(config, taught_pack()))
        with pytest.raises(LabError, match=words):
            later_lessons.measure(FinishedRun(run, {}, lab.storage))
    run_id = start(lab, quick)
    worker.work(lab.registry, lab.storage, run_id)

    def ended(watch=lambda share, words: None):
        experiment_id = begin(lab, "later-lessons", run_id)
        carry_out(lab, experiment_id, watch)
        return lab.registry.experiment_row(experiment_id)

    def stop(share, words):
        if "by rote" in words:
            raise KeyboardInterrupt

    assert (ended(stop).status, ended(stop).result) == ("stopped", None)
    monkeypatch.setattr(later_lessons, "IN_A_ROW", 100)
    row = ended()
    assert row.status == "failed" and "the most there can be" in row.error
