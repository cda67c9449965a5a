"""One cost model: the progress bar and the estimate count the same tokens."""

import pytest

from rotelab.config.option_paths import with_setting
from rotelab.runs import progress, worker
from rotelab.runs.progress import PARTS, TYPICAL, by_characters, tokens_to_read, typical_seconds


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
