"""Recorded results: read, shown apart from a lab's own, hidden and brought back; the shipped ones
open and are small."""

import json
import runpy
from dataclasses import replace

import pytest
from support.command_line import rotelab
from support.fabricated import finished
from support.paths import ROOT

from rotelab.errors import LabError
from rotelab.experiments import experiment
from rotelab.experiments.results import recorded
from rotelab.experiments.results.recorded import Recorded, all_recorded, result_in
from rotelab.experiments.results.view import view_of
from rotelab.experiments.runner import begin, carry_out, result_of

COUNT = Recorded(
    "head-count", 1, "2026-11-27T10:00:00+00:00", "0.1.0", "two cores", "python -m …",
    "20 facts", 3.0, (("", "a-run"),), {"facts": 7, "shares": [0.5, None]},
)  # fmt: skip


def test_the_shipped_results_open_and_say_how_they_were_made():
    found = all_recorded()
    assert len(found) >= 3
    for name, one in found.items():
        result = result_in(one)
        assert result.tables() and result.figure().data, name
        assert all((one.machine, one.command, one.sizes, one.recorded, one.runs)), name
        assert f"experiment {name}" in one.command
    script = runpy.run_path(str(ROOT / "docs" / "record_results.py"))
    assert script["total_bytes"]() < recorded.MAX_BYTES


def test_a_result_is_recorded_and_read_back(lab, one_more, tmp_path, monkeypatch):
    made = begin(lab, "head-count", finished(lab))
    carry_out(lab, made)
    script = runpy.run_path(str(ROOT / "docs" / "record_results.py"))
    monkeypatch.setitem(
        script["record"].__globals__, "write", lambda kept: recorded.write(kept, tmp_path)
    )
    path = script["record"](lab.storage.home, "head-count", "half of it busy", "few")
    kept = recorded.recorded("head-count", tmp_path)
    assert path == tmp_path / "head-count.json" and all_recorded(tmp_path) == {"head-count": kept}
    row = lab.registry.experiment_row(made)
    assert str(result_in(kept)) == str(result_of(row)) and kept.runs == row.arms
    assert kept.machine.endswith("half of it busy") and kept.sizes.endswith("few")
    assert "cores" in kept.machine and "20 facts" in kept.sizes
    with pytest.raises(LabError, match="no finished result"):
        script["record"](lab.storage.home, "damage")


def test_one_of_an_older_version_is_left_out_and_a_damaged_one_says_so(one_more, tmp_path):
    recorded.write(COUNT, tmp_path)
    path = tmp_path / "head-count.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"version": 2}))
    assert all_recorded(tmp_path) == {}
    with pytest.raises(LabError, match="is of version 2"):
        result_in(recorded.recorded("head-count", tmp_path))
    for text in ("{", "{}", json.dumps(said | {"more": 1}), json.dumps(said | {"format": 9})):
        path.write_text(text)
        with pytest.raises(LabError, match="can't be read"):
            recorded.recorded("head-count", tmp_path)
    with pytest.raises(LabError, match="damaged"):
        recorded.write(replace(COUNT, result={"facts": 1}), tmp_path)
    with pytest.raises(LabError, match="No result"):
        recorded.recorded("damage", tmp_path)


def test_a_recorded_result_is_never_among_a_labs_own(lab, monkeypatch, one_more, tmp_path):
    recorded.write(COUNT, tmp_path)
    monkeypatch.setattr(recorded.recorded, "__defaults__", (tmp_path,))
    view = view_of(lab, "recorded-head-count")
    assert view.recorded and view.found.facts == 7 and view.about is experiment("head-count")
    assert lab.registry.experiment_rows() == [] and lab.registry.count_runs() == 0


def test_they_are_hidden_and_brought_back(lab):
    assert recorded.choice(lab.storage) is None
    for shown in (False, True):
        recorded.choose(lab.storage, shown)
        assert recorded.choice(lab.storage) is shown


def test_the_command_line_prints_one_and_writes_it_as_a_page(lab, tmp_path):
    home, page = lab.storage.home, tmp_path / "sent" / "page.html"
    said = rotelab("experiments", home=home).out
    assert "recorded-damage" in said
    said = rotelab("report", "recorded-damage", "--html", str(page), home=home)
    assert said.code == 0, said.err
    assert "Recorded; comes with rotelab." in said.out and page.stat().st_size > 1_000_000
    said = json.loads(rotelab("report", "recorded-damage", "--json", home=home).out)
    assert said["experiment"] == "damage" and said["machine"] and said["result"]["rows"]
    refused = rotelab("report", "latest", "--html", str(page), home=home)
    assert refused.code == 2
