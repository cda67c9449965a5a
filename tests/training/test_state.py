"""Training state on disk: written atomically, damage noticed, training resumed to equal numbers."""

import json
import os
import random
import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator

from rotelab.config.run_config import MemorizeConfig
from rotelab.facts.facts import FactSet
from rotelab.storage import finish_writing, written_whole
from rotelab.training import state as training_state
from rotelab.training.events import EpochEvent
from rotelab.training.phases import memorize
from rotelab.training.state import TrainState, load_state, remove_state, save_state


def test_state_round_trip_goes_on_with_equal_numbers(tiny, mother, tmp_path):
    facts = FactSet(mother.facts[:8])
    config = MemorizeConfig(spare=0, epochs=3, rank=4, batch_size=4)
    accelerator = Accelerator(cpu=True)
    whole = [e.loss for e in memorize(tiny, facts, config, 0, accelerator) if hasattr(e, "loss")]
    for event in memorize(tiny, facts, config, 0, accelerator):
        if isinstance(event, EpochEvent):
            save_state(event.state(), tmp_path / "state")
            break
    state = load_state(tmp_path / "state")
    rest = memorize(tiny, facts, config, 0, accelerator, state)
    assert [e.loss for e in rest if hasattr(e, "loss")] == whole[2:]


def test_a_torn_state_is_never_loaded(tmp_path):
    save_state(TrainState("memorize", 1, 2, {"a": torch.ones(1000)}), tmp_path / "state")
    path = tmp_path / "state" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert load_state(tmp_path / "state") is None
    assert load_state(tmp_path / "nothing") is None


def test_a_failed_write_leaves_what_was_there(tmp_path):
    with written_whole(tmp_path / "a") as work:
        (work / "x").write_text("old")
    with pytest.raises(RuntimeError), written_whole(tmp_path / "a") as work:
        (work / "x").write_text("new")
        raise RuntimeError("the disk is full, say")
    assert (tmp_path / "a" / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def state_of(epoch):
    return TrainState("memorize", epoch, 2 * epoch, {"a": torch.full((1000,), float(epoch))})


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_no_flipped_bit_of_a_state_goes_unnoticed(tmp_path, name):
    save_state(state_of(3), tmp_path / "state")
    path = tmp_path / "state" / name
    whole = path.read_bytes()
    size = len(whole) * 8
    bits = range(size) if size < 4000 else random.Random(0).sample(range(size), 400)
    for bit in bits:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert load_state(tmp_path / "state") is None, f"bit {bit} of {name}"
    path.write_bytes(whole)
    assert load_state(tmp_path / "state").epoch == 3


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_a_state_cut_short_anywhere_is_never_loaded(tmp_path, name):
    save_state(state_of(3), tmp_path / "state")
    path = tmp_path / "state" / name
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 50)):
        path.write_bytes(whole[:length])
        assert load_state(tmp_path / "state") is None
    path.unlink()
    assert load_state(tmp_path / "state") is None


def test_a_state_of_another_version_is_not_loaded(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training_state, "STATE_FORMAT", training_state.STATE_FORMAT + 1)
        save_state(state_of(1), tmp_path / "state")
    assert load_state(tmp_path / "state") is None


def test_parts_of_two_states_are_not_one(tmp_path):
    for epoch in (1, 2):
        save_state(state_of(epoch), tmp_path / str(epoch))
    (tmp_path / "1" / "state.json").replace(tmp_path / "2" / "state.json")
    assert load_state(tmp_path / "2") is None


KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
import torch
from rotelab.training.state import TrainState, load_state, save_state

torch.set_num_threads(1)
home = Path(sys.argv[1])
state = lambda epoch: TrainState("memorize", epoch, epoch, {"a": torch.full((9,), float(epoch))})
calls = []


def deadly(name, real, n):
    def call(*args, **options):
        calls.append(name)
        if len(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    return call


found, n = [], 0
while not found or found[-1]["killed"]:
    n += 1
    shutil.rmtree(home, ignore_errors=True)
    save_state(state(1), home / "state")
    child = os.fork()
    if child == 0:
        for name in ("rename", "fsync", "mkdir", "open", "rmdir", "unlink"):
            setattr(os, name, deadly(name, getattr(os, name), n))
        save_state(state(2), home / "state")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    loaded = load_state(home / "state")
    value = loaded and loaded.tensors["a"].tolist() == [float(loaded.epoch)] * 9
    found.append({
        "killed": os.WIFSIGNALED(status), "epoch": loaded and loaded.epoch, "whole": value,
        "left": sorted(path.name for path in home.iterdir()),
    })
print(json.dumps(found))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_kill_at_any_call_leaves_the_old_state_or_the_new_one(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "home")],
        env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 10 and not found[-1]["killed"]
    assert all(f["whole"] for f in found), found
    assert all(f["left"] == ["state"] for f in found), "what a kill leaves is cleared away"
    epochs = [f["epoch"] for f in found]
    assert epochs == sorted(epochs) and set(epochs) == {1, 2}


def test_a_write_killed_between_the_renames_is_completed(tmp_path, monkeypatch):
    save_state(state_of(1), tmp_path / "state")
    real = os.rename

    def fail(source, target):
        if os.fspath(target).endswith(".old"):
            real(source, target)
            raise KeyboardInterrupt  # the old one is away, the new one is not there yet
        real(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "rename", fail)
        save_state(state_of(2), tmp_path / "state")
    assert not (tmp_path / "state").exists()
    finish_writing(tmp_path / "state")
    assert load_state(tmp_path / "state").epoch == 2


def test_what_another_process_is_writing_is_not_removed(tmp_path):
    theirs = tmp_path / f".state.{os.getppid()}.tmp"
    theirs.mkdir()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".state.{dead.pid}.tmp").mkdir()
    save_state(state_of(1), tmp_path / "state")
    assert sorted(path.name for path in tmp_path.iterdir()) == [theirs.name, "state"]


def test_everything_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    order = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(handle):
        order.append(("flush", os.readlink(f"/proc/self/fd/{handle}").rsplit("/", 1)[-1]))
        real_fsync(handle)

    def rename(source, target):
        order.append(("rename", os.path.basename(target)))
        real_rename(source, target)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("sees what is flushed through /proc")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    save_state(state_of(1), tmp_path / "state")
    whole = order.index(("rename", ".state.new"))
    work = f".state.{os.getpid()}.tmp"
    before = {"state.json", "state.safetensors", work}
    assert {name for what, name in order[:whole] if what == "flush"} == before
    here = ("flush", tmp_path.name)
    assert order[whole:] == [order[whole], here, ("rename", "state"), here]


def test_a_state_is_removed_and_may_be_removed_twice(tmp_path):
    save_state(state_of(1), tmp_path / "state")
    remove_state(tmp_path / "state")
    remove_state(tmp_path / "state")
    assert list(tmp_path.iterdir()) == []
