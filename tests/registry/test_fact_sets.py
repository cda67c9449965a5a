"""The registry's fact sets: versions are never overwritten, names are only data."""

import pytest
from support.registry_tools import in_threads
from support.rows import pack_of

from rotelab.errors import LabError


def test_versions_are_never_overwritten(registry):
    first, second = pack_of("Ada", name="mine"), pack_of("Bo", name="mine")
    assert registry.save_fact_set(" mine ", first, base_version=0) == 1
    assert registry.save_fact_set("mine", first) == 1, "the same content is no new version"
    assert registry.save_fact_set("mine", second, base_version=1, note="corrected") == 2
    with pytest.raises(LabError, match="Someone saved version 2"):
        registry.save_fact_set("mine", pack_of("Cy"), base_version=1)
    with pytest.raises(LabError, match="no version 5"):
        registry.save_fact_set("mine", pack_of("Cy"), base_version=5)
    assert registry.save_fact_set("mine", first, base_version=2) == 3
    assert [registry.fact_set("mine", v) for v in (1, 2, 3, None)] == [first, second, first, first]
    registry.save_fact_set("another", first)
    assert [(s.name, s.version, s.facts) for s in registry.fact_sets()] == [
        ("another", 1, 1), ("mine", 3, 1),
    ]  # fmt: skip
    assert [(s.version, s.note) for s in registry.fact_sets("mine")] == [
        (3, ""), (2, "corrected"), (1, ""),
    ]  # fmt: skip
    for name, version in (("mine", 4), ("nobody's", None)):
        with pytest.raises(LabError, match="There is no fact set"):
            registry.fact_set(name, version)


def test_two_browsers_save_at_once(registry):
    registry.save_fact_set("mine", pack_of("start"))
    saved = in_threads(
        8, lambda i: registry.save_fact_set("mine", pack_of(f"Edit {i}"), base_version=1)
    )
    assert saved.count(2) == 1 and sum(isinstance(s, LabError) for s in saved) == 7
    assert registry.fact_set("mine") == pack_of(f"Edit {saved.index(2)}", name="mine")


@pytest.mark.parametrize(
    "name", ["", "  ", "a/b", "..\\x", "x" * 61, "tab\there", "zero\u200bwidth", "\ud800"]
)
def test_names_that_are_refused(registry, name):
    with pytest.raises(LabError):
        registry.save_fact_set(name, pack_of())
    assert registry.fact_sets() == []


@pytest.mark.parametrize("name", ["x" * 60, "'; DROP TABLE runs; --", "Mütter, 1. Fassung", "<b>"])
def test_names_are_data(registry, name):
    registry.save_fact_set(name, pack_of())
    assert registry.fact_set(name).name == name == registry.fact_sets()[0].name
