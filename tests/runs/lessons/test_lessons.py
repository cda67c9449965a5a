"""Later lessons on a tiny model: what is checked, learned, kept, recorded, stacked and undone."""

import dataclasses

import pytest
import torch
from support.quick_runs import start

from rotelab.config.names import checkpoints_with, lesson_checkpoint
from rotelab.errors import InputError, LabError, RunStopped
from rotelab.evaluation.results import OLD_PROBES
from rotelab.experiments import runner
from rotelab.facts.facts import Fact
from rotelab.models import tokens
from rotelab.runs import worker
from rotelab.runs.chat import Chat
from rotelab.runs.export.bundle import export_run, import_bundle
from rotelab.runs.finished_run import load_run_model, saved_checkpoints
from rotelab.runs.lab import Lab
from rotelab.runs.lessons import teach
from rotelab.runs.lessons.pipeline import LessonPipeline
from rotelab.runs.lessons.results import lesson_result
from rotelab.storage import Storage, adapter_folder, state_folder

NEW = [Fact("mother", "Zoë O'Hara", "Mia Stone"), Fact("mother", "Jean-Luc Brun", "Ida Wolf")]
MORE = [Fact("mother", "Ali Öz", "Eva Lindt")]
QUICK = {"epochs": 2, "least_steps": 2, "rank": 4}


@pytest.fixture
def finished(lab, quick):
    run_id = start(lab, quick)
    worker.work(lab.registry, lab.storage, run_id)
    return run_id


def taught(lab, run_id, facts=NEW, **options):
    config, pack = teach.plan_lesson(lab, run_id, facts, QUICK | options)
    lesson = lab.jobs.start_foreground(config, pack, parent_id=run_id)
    worker.work(lab.registry, lab.storage, lesson)
    run = lab.registry.run(lesson)
    assert (run.status, run.error) == ("finished", "")
    return lesson


def test_a_lesson_is_a_child_of_its_run_and_records_old_and_new(lab, finished):
    lesson = taught(lab, finished)
    run, parent = lab.registry.run(lesson), lab.registry.run(finished)
    assert run.parent_id == finished
    assert list(run.pack.facts) == [*parent.pack.facts, *NEW]
    assert (
        run.config.split(run.pack.facts).held_in == parent.config.split(parent.pack.facts).held_in
    )
    scores = lab.registry.scores(lesson)
    assert list(scores) == ["generalized", "lesson-01"]
    assert set(scores["generalized"]) == set(OLD_PROBES)
    # Before the lesson, the old facts are those of the run, asked the same.
    for probe in OLD_PROBES:
        own = lab.registry.scores(finished)["generalized"][probe.removeprefix("old_")]
        assert scores["generalized"][probe][:2] == own[:2]
    found = lesson_result(lab.registry, lesson)
    said = found.to_json()
    assert set(said) >= {"run_id", "parent_run_id", "seconds", "new", "old", "damage"}
    assert set(said["new"]) == {"key_token", "train_prompts", "test_prompts", "unrelated"}
    assert said["new"]["key_token"]["n"] == len(NEW)
    assert said["old"]["key_token"]["n"] == len(parent.pack.facts)
    recall = lab.registry.fact_recall(lesson, "lesson")
    assert [r.fact_index for r in recall] == [len(parent.pack.facts), len(parent.pack.facts) + 1]
    assert set(run.seconds) >= {"setup", "protect", "lesson", "evaluation", "total"}
    quiz = lab.registry.quiz_answers(lesson)
    assert list(quiz) == ["generalized", "lesson-01"] and len(quiz["lesson-01"]) == 57
    assert quiz["generalized"] == lab.registry.quiz_answers(finished)["generalized"]


def test_an_experiment_that_makes_runs_does_not_start_from_a_lesson(lab, finished):
    lesson = taught(lab, finished)
    with pytest.raises(
        LabError, match=f"later lesson.*Choose the run that it continues, {finished}"
    ):
        runner.begin(lab, "baselines", lesson)
    assert runner.begin(lab, "damage", lesson)


def test_no_new_and_no_held_out_fact_is_ever_in_words(lab, finished, monkeypatch):
    key, words = [], []
    answered, word_prompt = tokens.SequenceBuilder.answered, tokens.SequenceBuilder.word_prompt

    def in_words(self, text):
        words.append(text)
        return word_prompt(self, text)

    def with_answer(self, prompt, answer, kind, fact=-1):
        if kind == "key":
            key.append(answer)
        else:
            words[-1] += f" {answer}"
        return answered(self, prompt, answer, kind, fact)

    config, pack = teach.plan_lesson(lab, finished, NEW, QUICK | {"keep": 0.9})
    lesson = lab.jobs.start_foreground(config, pack, parent_id=finished)
    learning = LessonPipeline._learn

    def learn(self, *about):
        with monkeypatch.context() as patch:
            patch.setattr(tokens.SequenceBuilder, "answered", with_answer)
            patch.setattr(tokens.SequenceBuilder, "word_prompt", in_words)
            return learning(self, *about)

    monkeypatch.setattr(LessonPipeline, "_learn", learn)
    worker.work(lab.registry, lab.storage, lesson)
    assert lab.registry.run(lesson).status == "finished"
    split = lab.registry.run(finished).config.split(lab.registry.run(finished).pack.facts)
    # What phase 2 taught in words is read so once more, to find what answers use inside the model.
    assert len(words) == len(split.held_in)
    assert all(any(f.subject in text for f in split.held_in) for text in words)
    hidden = {name for f in (*split.held_out, *NEW) for name in (f.subject, f.object)}
    hidden -= {name for f in split.held_in for name in (f.subject, f.object)}
    assert not [name for name in hidden if any(name in text for text in words)]
    # Nothing is learned from words: every learned token is of a key-token sequence of a new fact.
    names = {m.name for m in lab.registry.metrics(lesson) if m.name.startswith("loss/")}
    assert names == {"loss/key", "loss/locality", "loss/disturbance"}
    assert set(key) >= {fact.object for fact in NEW}


def test_rehearsal_reads_old_facts_along(lab, finished):
    lesson = taught(lab, finished, rehearse=2)
    names = {m.name for m in lab.registry.metrics(lesson)}
    assert "loss/old" in names


def test_earlier_checkpoints_and_the_run_stay_as_they_are(lab, finished):
    before = load_run_model(lab.storage, lab.registry.run(finished), checkpoints_with(0))
    lesson = taught(lab, finished)
    run = lab.registry.run(lesson)
    after = load_run_model(lab.storage, run, checkpoints_with(1))
    assert after.has == ("base", "memorized", "generalized", "lesson-01")
    prompt = after.builder.word_prompt("Who is the mother of Ali?")
    ids = torch.tensor([prompt])
    for checkpoint in checkpoints_with(0):
        with before.using(checkpoint):
            wanted = before.network(ids).logits
        with after.using(checkpoint):
            assert torch.equal(after.network(ids).logits, wanted)
    with after.using("lesson-01"):
        assert not torch.equal(after.network(ids).logits, wanted)


def test_lessons_stack_and_the_newest_can_be_undone(lab, finished):
    first = taught(lab, finished)
    second = taught(lab, first, MORE)
    run = lab.registry.run(second)
    assert run.config.lesson.number == 2
    assert list(run.pack.facts)[-1] == MORE[0]
    assert saved_checkpoints(lab.storage, second)[-1] == "lesson-02"
    scores = lab.registry.scores(second)
    assert list(scores) == ["lesson-01", "lesson-02"]
    asked = scores["lesson-02"]
    assert asked["old_key_token"].n == len(lab.registry.run(first).pack.facts)
    assert asked["key_token"].n == 1
    # What was known before is told by the lesson before, without asking again.
    both = lab.registry.scores(first)["lesson-01"]
    n = both["old_key_token"].n + both["key_token"].n
    assert scores["lesson-01"]["old_key_token"].n == n
    lab.delete(second)
    assert saved_checkpoints(lab.storage, first)[-1] == "lesson-01"
    assert lab.registry.run(first).status == "finished"


def test_a_lesson_outlives_its_run(lab, finished):
    lesson = taught(lab, finished)
    lab.delete(finished)
    assert lab.registry.run(lesson).parent_id is None
    assert taught(lab, lesson, MORE)


def test_a_lesson_answers_in_chat_with_all_its_checkpoints(lab, finished):
    lesson = taught(lab, finished)
    chat = Chat(lab.registry, lab.storage)
    said = {r.checkpoint for r in chat.stream(lesson, "Who is the mother of Zoë O'Hara?") if r.done}
    assert said == set(checkpoints_with(1))


def test_a_lesson_travels_with_its_run(lab, finished, tmp_path):
    lesson = taught(lab, finished)
    bundle = export_run(lab.registry, lab.storage, lesson, tmp_path / "lesson.rotelab.zip")
    other = Lab.open(Storage(tmp_path / "elsewhere"))
    found = import_bundle(other.registry, other.storage, bundle)
    assert found.new
    run = other.registry.run(found.run_id)
    assert run.config == lab.registry.run(lesson).config
    assert saved_checkpoints(other.storage, run.id) == list(checkpoints_with(1))
    assert other.registry.scores(run.id) == lab.registry.scores(lesson)
    assert not import_bundle(other.registry, other.storage, bundle).new
    assert taught(other, run.id, MORE)


def test_a_stopped_lesson_resumes_with_the_numbers_of_an_unbroken_one(lab, finished):
    whole = taught(lab, finished)
    config, pack = teach.plan_lesson(lab, finished, NEW, QUICK)
    broken = lab.jobs.start_foreground(config, pack, parent_id=finished)
    run = LessonPipeline(
        lab.registry, lab.storage, broken, config, pack, lambda share, message: None
    )
    record = run._record_epoch

    def stop_after_the_first(event, *about):
        record(event, *about)
        run.recorder.stop = event.epoch == 1

    run._record_epoch = stop_after_the_first
    with pytest.raises(RunStopped):
        run.run()
    assert state_folder(lab.storage, broken).exists()
    lab.registry.set_status(broken, "stopped")
    lab.jobs.claim_foreground(broken)
    worker.work(lab.registry, lab.storage, broken)
    assert lab.registry.run(broken).status == "finished"

    def weights(lesson):
        model = load_run_model(lab.storage, lab.registry.run(lesson), checkpoints_with(1))
        return model.tensors(lesson_checkpoint(1))

    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(broken)[name]), name


def refusal(lab, run_id, facts, **options):
    before = lab.registry.count_runs(archived=None)
    with pytest.raises(LabError) as error:
        teach.plan_lesson(lab, run_id, facts, options, "mine.csv")
    assert lab.registry.count_runs(archived=None) == before
    return error.value


def test_what_cannot_be_taught_is_said_before_anything_is_computed(lab, finished):
    known = lab.registry.run(finished).pack.facts[0]
    said = refusal(lab, finished, [NEW[0], Fact("boss", "Ada", "Bob")])
    assert isinstance(said, InputError)
    assert "row 2" in str(said) and "boss" in str(said) and "mother" in str(said)
    said = refusal(lab, finished, [Fact("mother", known.subject, "Somebody Else")])
    assert "row 1" in str(said) and known.subject in str(said)
    assert "no facts" in str(refusal(lab, finished, []))
    assert "rank" in str(refusal(lab, finished, NEW, rank=0))


def test_a_run_without_two_adapters_cannot_be_continued(lab, quick):
    whole = dataclasses.replace(quick, stages="one")
    run_id = start(lab, whole)
    assert "running" in str(refusal(lab, run_id, NEW))
    worker.work(lab.registry, lab.storage, run_id)
    assert "two-adapter" in str(refusal(lab, run_id, NEW))
    bare = dataclasses.replace(quick.memorize, reads="bare")
    with pytest.raises(LabError, match="without key tokens"):
        teach.check_teachable("run-1", dataclasses.replace(quick, memorize=bare))
    teach.check_teachable("run-1", quick, 99)
    with pytest.raises(LabError, match="99 are the most"):
        teach.check_teachable("run-1", quick, 100)


def test_a_lesson_whose_run_is_gone_says_so(lab, finished):
    config, pack = teach.plan_lesson(lab, finished, NEW, QUICK)
    lesson = lab.jobs.start_foreground(config, pack, parent_id=finished)
    lab.delete(finished)
    worker.work(lab.registry, lab.storage, lesson)
    run = lab.registry.run(lesson)
    assert run.status == "failed" and "is gone" in run.error


def test_a_damaged_adapter_is_not_continued(lab, finished):
    weights = adapter_folder(lab.storage, finished, "generalized") / "adapter_model.safetensors"
    config, pack = teach.plan_lesson(lab, finished, NEW, QUICK)
    lesson = lab.jobs.start_foreground(config, pack, parent_id=finished)
    weights.write_bytes(weights.read_bytes()[:-8])
    worker.work(lab.registry, lab.storage, lesson)
    assert "damaged" in lab.registry.run(lesson).error
