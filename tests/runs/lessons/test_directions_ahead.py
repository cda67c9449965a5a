"""The directions of ordinary text in the embedded model, found before anybody needs them."""

import json

import pytest
from support.taught import taught_run

from rotelab.facts.facts import Fact
from rotelab.models import loading
from rotelab.runs import demo, worker
from rotelab.runs.lab import Lab
from rotelab.runs.lessons import directions_ahead as ahead
from rotelab.runs.lessons.teach import start_lesson
from rotelab.storage import Storage
from rotelab.training import null_space
from rotelab.training.lessons import old_facts


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache for this test alone, with a model in it as far as anybody looks."""
    for module in (null_space, ahead):
        monkeypatch.setattr(module, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(ahead, "is_provisioned", lambda: True)
    monkeypatch.setattr(ahead, "lower_priority", lambda: None)
    monkeypatch.setattr(ahead, "_recorded", lambda: "")
    return tmp_path / "cache" / "directions"


@pytest.fixture
def started(monkeypatch):
    """The commands of processes that were to be started."""
    commands = []

    def spawn(command, name, home, log):
        commands.append(command)
        return object(), 0.0

    monkeypatch.setattr(ahead, "spawn", spawn)
    return commands


def test_they_are_found_once(tiny, tmp_path, cache, started, monkeypatch):
    monkeypatch.setattr(null_space, "TEXTS", 8)
    monkeypatch.setattr(loading, "load_model", lambda spec, relations: tiny)
    storage = Storage(tmp_path / "home")
    assert ahead.find_ahead(storage) is not None
    assert [command[-1] for command in started] == ["rotelab.runs.lessons.directions_ahead"]
    assert ahead.main() == 0
    assert ahead.is_ready("") and ahead.find_ahead(storage) is None and len(started) == 1
    monkeypatch.setattr(null_space, "_find", lambda *args: pytest.fail("found again"))
    assert null_space.directions(tiny, 0.9)


def test_they_are_found_again_where_they_are_gone(tmp_path, cache, started):
    storage = Storage(tmp_path / "home")
    cache.mkdir(parents=True)
    for text in ("no note", json.dumps({"file": "gone.safetensors"}), "[]"):
        ahead.note_path().write_text(text)
        assert ahead.find_ahead(storage) is not None
    assert len(started) == 3


def test_nothing_is_found_without_the_model(tmp_path, started, monkeypatch):
    monkeypatch.setattr(ahead, "is_provisioned", lambda: False)
    assert ahead.find_ahead(Storage(tmp_path / "home")) is None and not started


def test_what_the_recorded_run_s_facts_use_is_found_once_too(
    tiny, tiny_folder, tmp_path, cache, started, monkeypatch
):
    monkeypatch.setenv("ROTELAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(null_space, "TEXTS", 8)
    lab = Lab.open()
    run_id = taught_run(lab, tiny_folder)
    lab.registry.set_status(run_id, "finished")
    monkeypatch.setattr(ahead, "_recorded", lambda: run_id)
    monkeypatch.setattr(demo, "open_run", lambda lab: (run_id, False))
    real = loading.load_model

    def load(spec, *about, **named):
        return real(spec if spec.name == str(tiny_folder) else model, *about, **named)

    model = lab.registry.run(run_id).config.model
    monkeypatch.setattr(loading, "load_model", load)
    null_space.directions(tiny, 0.9)
    ahead.note_path().write_text(json.dumps({"file": null_space.cached_at(tiny).name}))
    assert not ahead.is_ready(run_id), "the recorded run's are missing"
    assert ahead.main() == 0
    assert ahead.is_ready(run_id) and ahead.find_ahead(lab.storage) is None and not started

    # A lesson that continues the run uses what was found.
    monkeypatch.undo()
    monkeypatch.setenv("ROTELAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(null_space, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(null_space, "TEXTS", 8)
    monkeypatch.setattr(old_facts, "_used", lambda *about: pytest.fail("found again"))
    lesson = start_lesson(lab, run_id, [Fact("mother", "Clara Vogel", "Ines Vogel")], {"epochs": 2})
    worker.work(lab.registry, lab.storage, lesson)
    assert lab.registry.run(lesson).status == "finished"
