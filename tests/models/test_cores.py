"""Programs that compute at once share the cores."""

import json
import os
import platform
import subprocess
import sys
import time

import psutil
import pytest
import torch
from support.quick_runs import start

from rotelab.models import cores
from rotelab.models import threads as threads_module
from rotelab.models.cores import ANSWERS_S, at_work, busy_share, own_cores, threads, waiting
from rotelab.models.threads import CoreShare
from rotelab.runs import worker
from rotelab.runs.chat import Chat


@pytest.mark.parametrize(
    ("number", "runs", "page", "share"),
    [
        (2, 1, False, 2), (2, 2, False, 1), (2, 1, True, 1), (2, 5, True, 1), (1, 1, False, 1),
        (16, 1, False, 16), (16, 2, False, 8), (16, 2, True, 5), (16, 3, False, 5),
        (16, 0, True, 16), (16, 0, False, 16),
    ],
)  # fmt: skip
def test_each_gets_an_equal_share_and_at_least_one(number, runs, page, share):
    assert threads(number, runs, page) == share


@pytest.fixture
def eight(monkeypatch):
    """A machine with eight cores, all of which torch uses; the threads that were set."""
    count = [8]
    monkeypatch.setattr(cores, "own_cores", lambda: tuple(range(8)))
    monkeypatch.setattr(cores, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: count[-1])
    monkeypatch.setattr(torch, "set_num_threads", count.append)
    return count


def others(folder, pids, *, started=None, used=range(8), page=False, age=0.0):
    """Files of other programs that compute."""
    folder.mkdir(exist_ok=True)
    for pid in pids:
        file = folder / f"{platform.node()}-{pid}.json"
        began = psutil.Process(pid).create_time() if started is None else started
        file.write_text(json.dumps({"started": began, "cores": list(used), "page": page}))
        os.utime(file, (time.time() - age,) * 2)


@pytest.fixture
def sleeper():
    """Another process that lives."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def test_a_run_takes_its_share_looks_again_and_gives_it_back(tmp_path, eight, sleeper):
    share = CoreShare(tmp_path)
    with share.taken():
        assert (eight[-1], at_work(tmp_path, (0,))) == (8, (1, False))
        others(tmp_path, [sleeper.pid])
        share.adjust()
        assert eight[-1] == 4
        with share.taken():  # the process counts once
            assert eight[-1] == 4
        assert eight[-1] == 4
        sleeper.kill()
        sleeper.wait()
        share.adjust()
        assert eight[-1] == 8
        others(tmp_path, [os.getppid()], page=True)
        share.adjust()
        assert eight[-1] == 4
    assert eight[-1] == 8 and at_work(tmp_path, (0,)) == (0, True)
    share.adjust()  # without a share nothing is set
    assert eight[-1] == 8


def test_what_was_set_by_hand_is_never_exceeded(tmp_path, eight):
    eight.append(3)
    with CoreShare(tmp_path).taken():
        assert eight[-1] == 3


def test_who_does_not_share_does_not_count(tmp_path, sleeper):
    others(tmp_path, [sleeper.pid], used=[4, 5])
    assert at_work(tmp_path, (0, 1)) == (0, False)
    assert at_work(tmp_path, (1, 4)) == (1, False)
    others(tmp_path, [sleeper.pid], started=1.0)  # its number belonged to another before
    assert at_work(tmp_path, (4,)) == (0, False) and not list(tmp_path.iterdir())
    for text in ("", "{}", '{"started": 1, "cores": 3, "page": 0}', "[]"):  # cut off
        (tmp_path / f"{platform.node()}-1.json").write_text(text)
        assert at_work(tmp_path, (4,)) == (0, False) and not list(tmp_path.iterdir())
    (tmp_path / "elsewhere-1.json").write_text("{}")  # another machine with the same home
    assert at_work(tmp_path, (4,)) == (0, False)
    with CoreShare(tmp_path).taken("cuda"):
        assert at_work(tmp_path, own_cores()) == (0, False)


def test_a_page_counts_for_as_long_as_it_answers(tmp_path, eight, sleeper):
    others(tmp_path, [sleeper.pid])
    share = CoreShare(tmp_path)
    share.answer()
    assert eight[-1] == 4 and at_work(tmp_path, (0,)) == (1, True)
    os.utime(share._file, (time.time() - ANSWERS_S - 1,) * 2)
    assert at_work(tmp_path, (0,)) == (1, False)
    share.answer()
    assert at_work(tmp_path, (0,)) == (1, True)


def test_a_cache_that_can_not_be_written_is_said_and_harms_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with CoreShare(tmp_path / "file" / "below").taken():
        pass
    assert "can't be written" in caplog.text


def test_a_worker_waits_asleep_where_others_compute():
    asleep = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    assert waiting(0.1, 0, {}) == {}
    assert waiting(0.9, 0, {}) == waiting(0.1, 1, {}) == asleep
    assert waiting(0.9, 1, {"OMP_WAIT_POLICY": "ACTIVE"}) == {}
    assert 0.0 <= busy_share() <= 1.0


def test_runs_lessons_and_answers_take_their_share(lab, quick, monkeypatch, tmp_path):
    """Beside another run that computes, in a machine of two cores."""
    monkeypatch.setattr(cores, "own_cores", lambda: (0, 1))
    share, seen = CoreShare(tmp_path / "at-work"), []
    share._most = 2
    monkeypatch.setattr(cores, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(threads_module, "CORES", share)
    run_id = start(lab, quick)

    def watch(done, words):
        seen.append((words.split(":")[0], torch.get_num_threads()))
        if words.startswith("Learning by rote"):
            others(share.folder, [os.getppid()])  # another run begins in phase 1

    worker.work(lab.registry, lab.storage, run_id, watch)
    assert lab.registry.run(run_id).status == "finished"
    assert ("Loading the model", 2) in seen
    assert ("Asking the model after both phases", 1) in seen
    assert at_work(share.folder, (0,)) == (1, False)
    list(Chat(lab.registry, lab.storage).stream(run_id, "Who is it?"))
    assert at_work(share.folder, (0,)) == (1, True)


def test_the_number_of_threads_changes_no_number(lab, quick):
    """Bit by bit, with a number that changes while a run trains."""
    outcomes = []
    for counts in ((1,), (3, 1, 2)):
        run_id = start(lab, quick)

        def watch(done, words, counts=counts, calls=[]):  # noqa: B006
            calls.append(words)
            torch.set_num_threads(counts[len(calls) % len(counts)])

        torch.set_num_threads(counts[0])
        worker.work(lab.registry, lab.storage, run_id, watch)
        losses = [m.value for m in lab.registry.metrics(run_id) if m.name.startswith("loss")]
        answers = lab.registry.predictions(run_id, limit=-1)
        outcomes.append((losses, [(p.answer, p.probability) for p in answers]))
    torch.set_num_threads(1)
    assert outcomes[0][0] and outcomes[0] == outcomes[1]
