"""A short form of `benchmarks/fuzz_imports.py`: bad files of every kind do no harm."""

from benchmarks.fuzz_imports import fuzz


def test_bad_files_are_imported_whole_or_refused(tmp_path):
    work = fuzz(150, 1, tmp_path / "home")
    assert work.faults == []
    assert work.counts["other"] == 0 and sum(work.counts.values()) == 150
    for kind in ("tables imported", "tables refused", "bundles imported", "bundles refused"):
        assert work.kinds[kind] > 0, work.kinds
