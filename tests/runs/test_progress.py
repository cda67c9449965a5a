"""One cost model: the progress bar and the estimate count the same tokens."""

import json
import os
import re

import pytest
from support.fabricated import finished
from support.fabricated_lessons import finished_lesson

from rotelab.config.option_paths import with_setting
from rotelab.runs import progress, worker
from rotelab.runs.progress import (
    PARTS,
    TYPICAL,
    by_characters,
    estimate,
    time_left,
    tokens_to_read,
    typical_seconds,
)
from rotelab.runs.timing import machine
from rotelab.runs.timing.lessons import FEW, TYPICAL_LESSON_S, estimate_lesson
from rotelab.runs.timing.machine import Machine
from rotelab.ui.catalogues import messages


def test_the_parts_of_a_run_add_up_to_the_whole_bar(lab, quick, monkeypatch):
    monkeypatch.setattr(progress, "RECORD_EVERY_S", 0.0)
    run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
    seen = []
    worker.work(lab.registry, lab.storage, run_id, lambda share, words: seen.append((share, words)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares) and seen[-1] == (1.0, "Finished")
    # Everything is counted before the end says so.
    assert shares[-2] == pytest.approx(1.0)
    learned = max(share for share, words in seen if words.startswith("Learning by rote"))
    assert 0.05 < learned < 0.95


def test_a_tokenizer_counts_what_characters_guess(lab, quick, tiny):
    pack = lab.facts_for(quick)

    def length(text):
        return len(tiny.tokenizer(text, add_special_tokens=False)["input_ids"])

    counted, guessed = tokens_to_read(quick, pack, length), tokens_to_read(quick, pack)
    assert set(counted) == set(guessed) == set(PARTS)
    ratio = sum(map(length, (f.object for f in pack.facts))) / sum(
        map(by_characters, (f.object for f in pack.facts))
    )
    for part in PARTS:
        assert counted[part] == pytest.approx(guessed[part] * ratio, rel=0.5)
    assert typical_seconds(quick, pack)["phase1"] == guessed["phase1"] / TYPICAL["phase1"]
    twice = with_setting(quick, f"memorize.epochs={2 * quick.memorize.epochs}")
    assert tokens_to_read(twice, pack)["phase1"] == 2 * guessed["phase1"]
    assert tokens_to_read(with_setting(quick, "stages=one"), pack)["phase2"] == 0


# One source of time: stumbles, line 6 -------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "load", "own", "slower"),
    [
        (2, 0.0, 0, 1), (2, 0.9, 0, 1), (2, 2.0, 0, 2), (2, 1.0, 0, 1.5), (8, 8.0, 8, 1),
        (8, 12.0, 8, 1.5), (2, 1.0, 2, 1), (0, 0.0, 0, 1),
        (8, 2.0, 0, 1.25), (8, 1.9, 0, 1),
    ],
)  # fmt: skip
def test_other_work_slows_a_run_and_the_labs_own_does_not(cores, load, own, slower):
    assert Machine(cores, load, own).slowdown == pytest.approx(slower)


def test_an_estimate_knows_how_busy_the_machine_is_now(lab, monkeypatch):
    """Stumbles, line 6: one source for every time, from the machine as it is now (busy too)."""
    run = lab.registry.run(finished(lab))
    idle = estimate(lab, run.config, run.pack)
    assert idle.measured and idle.slower == 1
    monkeypatch.setattr(machine, "load_now", lambda: 2.0 * (os.cpu_count() or 1))
    busy = estimate(lab, run.config, run.pack)
    assert busy.slower == pytest.approx(3) and busy.seconds == pytest.approx(3 * idle.seconds)
    with lab.registry.write() as db:  # other work on the processor does not slow a GPU
        db.execute("UPDATE runs SET device_used = 'cuda:0'")
    assert estimate(lab, run.config, run.pack).seconds == pytest.approx(idle.seconds)


def test_a_run_that_was_slowed_does_not_make_the_next_one_look_slow(lab):
    """Stumbles, line 6: after a run on a busy machine, a preset told twelve times as much."""
    run = lab.registry.run(finished(lab))
    idle = estimate(lab, run.config, run.pack).seconds
    slow = finished(lab)
    with lab.registry.write() as db:
        (seconds,) = db.execute("SELECT seconds FROM runs WHERE id = ?", [slow]).fetchone()
        slowed = {part: 12 * took for part, took in json.loads(seconds).items()}
        db.execute("UPDATE runs SET seconds = ? WHERE id = ?", [json.dumps(slowed), slow])
    assert estimate(lab, run.config, run.pack).seconds == pytest.approx(idle)


def test_the_time_left_begins_with_the_estimate_and_ends_with_the_runs_own_pace():
    """Stumbles, line 6: the live panel told 8 minutes and later 36."""
    assert time_left(0, 0, 100, 480) == 480
    assert time_left(30, 0, 100, 480) == 450
    # It takes twice as long as estimated: that comes in smoothly, and nearly all of it by half.
    told = [time_left(2 * 4.8 * done, done, 100, 480) for done in (1, 5, 20, 50, 90)]
    honest = [2 * 4.8 * (100 - done) for done in (1, 5, 20, 50, 90)]
    off = [abs(1 - t / h) for t, h in zip(told, honest, strict=True)]
    assert off == sorted(off, reverse=True) and off[0] < 0.5 and off[-2] < 0.1
    assert time_left(100, 100, 100, 480) == 0
    # Nothing is known of the model: its own pace, once there is one.
    assert time_left(10, 1, 100) is None and time_left(10, 10, 100) == 90


def test_a_lesson_takes_what_the_last_one_took_here(lab, monkeypatch):
    first = estimate_lesson(lab.registry)
    assert first.seconds == TYPICAL_LESSON_S and not first.measured
    assert estimate_lesson(lab.registry, facts=2 * FEW).seconds == 2 * TYPICAL_LESSON_S
    run_id = finished(lab)
    lesson = lab.registry.run(finished_lesson(lab, run_id))
    with lab.registry.write() as db:
        took = json.dumps({"setup": 5, "protect": 10, "lesson": 30, "evaluation": 60, "total": 95})
        db.execute("UPDATE runs SET seconds = ?, status = 'finished' WHERE id = ?",
                   [took, lesson.id])  # fmt: skip
    told = estimate_lesson(lab.registry, lab.registry.run(run_id))
    assert told.measured and told.seconds == pytest.approx(35)
    monkeypatch.setattr(machine, "load_now", lambda: float(os.cpu_count() or 1))
    assert estimate_lesson(lab.registry, lab.registry.run(run_id)).seconds == pytest.approx(70)


def test_no_text_of_the_page_names_a_time_of_its_own():
    """Stumbles, line 6: “a minute or two” stood beside “37 min”."""
    a_time = r"\b(an?|few|some|\d+) (minutes?|seconds?)\b(?! one)|\bminute or"  # not “a second one”
    named = re.compile(a_time, re.IGNORECASE)
    texts = [m.id for m in messages() if named.search(str(m.id))]
    assert texts == []
