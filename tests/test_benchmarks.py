"""The benchmarks run on a tiny model and report what they promise."""

import json

import pytest
import torch
from taught import taught_run

from benchmarks import scoring
from rotelab.errors import LabError
from rotelab.lab import Lab


@pytest.fixture
def run_id(own_home, tiny_folder):
    return taught_run(Lab.open(), tiny_folder)


def test_scoring_agrees_with_plain_code_and_ends_with_json(run_id, capsys):
    torch.set_num_threads(1)
    scoring.main(["--facts", "4", "--candidates", "9", "--json"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["run_id"], report["facts"], report["candidates"]) == (run_id, 4, 9)
    assert report["identical_verdicts"] is report["sums_agree"] is True
    assert report["speedup"] == report["generalized"]["speedup"] > 0
    for checkpoint in ("base", "generalized"):
        found = report[checkpoint]
        assert 0 <= found["largest_difference"] < 1e-3
        assert found["naive_seconds"] > 0 and found["distribution_seconds"] > 0
    # The merged network really is the generalised model, and the other one is not.
    assert (
        report["base"]["normalized_probability"] != report["generalized"]["normalized_probability"]
    )


def test_scoring_notices_other_verdicts_and_other_sums(run_id, monkeypatch):
    real = scoring._one_by_one
    words = ["--facts", "3", "--candidates", "9", "--checkpoints", "generalized"]

    def backwards(network, example, candidates):
        return [-total for total in real(network, example, candidates)]

    monkeypatch.setattr(scoring, "_one_by_one", backwards)
    report = scoring.main(words)
    assert not report["sums_agree"]

    def gold_wins(network, example, candidates):
        return [0.0 if tokens == example.object else -9.0 for tokens in candidates]

    monkeypatch.setattr(scoring, "_one_by_one", gold_wins)
    assert not scoring.main(words)["identical_verdicts"]


def test_scoring_needs_a_finished_run(own_home):
    with pytest.raises(LabError, match="no finished run here.* Make one first"):
        scoring.main([])
    with pytest.raises(LabError):
        scoring.main(["--candidates", "1"])
