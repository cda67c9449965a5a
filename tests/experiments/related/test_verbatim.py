"""Verbatim memorisation on a tiny run: where copies stand, and what is made of the lengths."""

import pytest
from support.taught import taught_run

from rotelab.experiments.related import verbatim
from rotelab.experiments.related.verbatim import COPIES, found_of, kind_of, shuffled, spread
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_copies_stand_evenly_each_at_a_place_of_its_own():
    wanted = [COPIES[i % len(COPIES)] for i in range(30)]
    found = spread(wanted, 0)
    assert len(found) == sum(wanted) and max(found) < verbatim.STEPS * verbatim.BATCH
    for i, count in enumerate(wanted):
        mine = sorted(place for place, text in found.items() if text == i)
        assert len(mine) == count
        if count >= 16:
            gaps = [b - a for a, b in zip(mine, mine[1:], strict=False)]
            assert max(gaps) < 3 * verbatim.STEPS * verbatim.BATCH / count


def test_half_of_the_texts_of_each_number_of_copies_are_shuffled():
    texts = [(0, *range(10 * i, 10 * i + 9)) for i in range(20)]
    found = shuffled(texts, 0)
    for i, (before, after) in enumerate(zip(texts, found, strict=True)):
        assert after[0] == 0 and sorted(after) == sorted(before)
        assert (after == before) == (kind_of(i) == "text")
    for copies in range(len(COPIES)):
        mine = [kind_of(i) for i in range(20) if i % len(COPIES) == copies]
        assert mine.count("shuffled") == 2


def test_what_is_known_without_copies_is_taken_away():
    def told(lengths):
        return [{k: [length, 0] for k in verbatim.PROMPTS} for length in lengths]

    count = 2 * len(COPIES)  # one text of each kind
    treated, control = told([5] * count), told([5] * (count - 1) + [1])
    found = found_of(treated, control, 0)
    by = {(r.kind, r.copies): r for r in found.rows if r.prompt == 16}
    assert by["text", 64].more == 0 and by["text", 64].longest == 5 and by["text", 64].mean == 2.5
    assert by["shuffled", 64].more == 4
    assert len(found.tables()) == 3 and len(found.tables()[0].rows) == 10


def test_what_was_read_often_is_gone_on_with(taught, monkeypatch):
    lab, run_id = taught
    for name, value in {"COPIES": (0, 40), "EACH": 2, "LENGTH": 14, "STEPS": 60, "BATCH": 4,
                        "PROMPTS": (3, 6), "LEARNING_RATE": 5e-3,
                        "WRITTEN": 60}.items():  # fmt: skip
        monkeypatch.setattr(verbatim, name, value)
    experiment_id = begin(lab, "verbatim", run_id)
    shares = []
    carry_out(lab, experiment_id, lambda share, words: shares.append(share))
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    assert shares == sorted(shares)
    found = result_of(row)
    by = {(r.kind, r.copies, r.prompt): r for r in found.rows}
    assert len(by) == len(found.rows) == 8
    assert by["shuffled", 40, 3].more > by["shuffled", 0, 3].more
    assert by["shuffled", 40, 3].longest > 5, "or nothing was memorised"
    assert len(found.figure().data) == 2
