"""What facts use inside a model is found once, and again where anything about it differs."""

import os

import pytest
import torch
from accelerate import Accelerator

from rotelab.config.run_config import MemorizeConfig
from rotelab.facts.facts import FactSet
from rotelab.training import null_space
from rotelab.training.lessons import kept_directions, old_facts
from rotelab.training.phases import memorize


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache for this test alone, and few texts."""
    monkeypatch.setattr(null_space, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(null_space, "TEXTS", 8)
    return tmp_path / "cache" / "directions" / "used"


@pytest.fixture
def facts(mother):
    return mother.facts[:6]


@pytest.fixture
def model(tiny, facts):
    config = MemorizeConfig(spare=0, epochs=2, rank=4, batch_size=3, learning_rate=1e-2)
    list(memorize(tiny, FactSet(facts), config, 0, Accelerator(cpu=True)))
    return tiny


def protect(model, facts, share=0.9, spare=0.5, states=("memorized",), texts=((1, 2, 3),)):
    ordinary = null_space.directions(model, spare)
    return old_facts.protected_directions(model, facts, ordinary, share, states, "mlp", texts)


def test_they_are_the_same_the_second_time_without_being_found(model, facts, cache, monkeypatch):
    first = protect(model, facts)
    assert first.kept and first.kept.parent == cache
    monkeypatch.setattr(old_facts, "_used", lambda *about: pytest.fail("found again"))
    second = protect(model, facts)
    assert second.room == first.room
    for name, basis in first.bases.items():
        assert torch.equal(second.bases[name], basis)
        width = basis.shape[1]
        assert torch.allclose(basis.T @ basis, torch.eye(width), atol=2e-3)
        assert torch.equal(second.left[name], first.left[name])


def test_whatever_differs_is_another_file(model, facts, monkeypatch):
    places = {protect(model, facts).kept}
    places.add(protect(model, facts[:5]).kept)
    places.add(protect(model, facts, share=0.8).kept)
    places.add(protect(model, facts, spare=0.3).kept)
    places.add(protect(model, facts, states=("base",)).kept)
    places.add(protect(model, facts, texts=((1, 2, 4),)).kept)
    model.strengthen("memorize", 1.5)
    places.add(protect(model, facts).kept)
    with torch.no_grad():
        next(iter(model.tensors("memorize").values())).add_(0.01)
    places.add(protect(model, facts).kept)
    assert len(places) == 8


def test_what_was_used_longest_ago_goes_first(model, facts, monkeypatch):
    old, used = protect(model, facts).kept, protect(model, facts, share=0.8).kept
    for place, seconds in ((old, 100), (used, 50)):
        os.utime(place, (seconds, seconds))
    protect(model, facts)  # used again, so no longer the oldest
    monkeypatch.setattr(kept_directions, "MOST_BYTES", 2.5 * old.stat().st_size)
    new = protect(model, facts, share=0.7).kept
    assert old.exists() and new.exists() and not used.exists()


def test_a_damaged_file_is_found_again(model, facts):
    place = protect(model, facts).kept
    place.write_bytes(b"half a file")
    assert protect(model, facts).kept == place
    assert kept_directions.kept(place)


def test_nothing_is_kept_where_nothing_is_protected(model, facts, cache):
    assert protect(model, facts, share=0.0).kept is None
    assert not cache.exists()
