"""Export and import on the page, as handlers: files, buttons, and nothing that reads as HTML."""

import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from support.bundle_tools import left_behind
from support.fabricated import NASTY, finished, queued
from support.taught import taught_run
from transformers import AutoModelForCausalLM

from rotelab.errors import LabError
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.runs import actions
from rotelab.ui.runs.detail import RunDetail, bundle, fill_detail
from rotelab.ui.runs.detail_html import head_html, settings_html
from rotelab.ui.runs.files_panel import merge_model


@pytest.fixture
def other(tmp_path):
    return Lab.open(Storage(tmp_path / "other"))


@pytest.fixture(autouse=True)
def said(monkeypatch):
    """The texts of the page's messages."""
    words = []
    monkeypatch.setattr(gr, "Info", words.append)
    return words


def view(lab, run_id):
    return SimpleNamespace(**dict(zip(RunDetail.FILLED, fill_detail(lab, run_id), strict=True)))


def test_a_run_is_exported_and_imported(lab, other, tiny_folder, said):
    run_id = taught_run(lab, tiny_folder, NASTY)
    button = bundle(lab, run_id, True)
    path = lab.bundle_file(run_id)
    assert path.parent == lab.storage.exports and path.is_file()
    assert button.visible and button.label.startswith("Download the run (")
    small = lab.export_bundle(run_id, False).stat().st_size
    assert small < lab.export_bundle(run_id, True).stat().st_size
    chooser = actions.import_run(other, str(path))
    assert chooser.value == run_id and said == [f"Imported run {run_id}."]
    shown = view(other, run_id)
    assert "<img" not in shown.head and "&lt;img" in shown.head
    assert "Imported" in shown.settings
    assert shown.again.visible and not shown.resume.visible


def test_a_run_that_has_not_ended_has_no_export(lab):
    done, waiting = finished(lab), queued(lab)
    assert not view(lab, waiting).bundle.visible
    assert view(lab, done).bundle.visible and view(lab, done).with_adapters.visible
    assert not view(lab, None).bundle.visible
    with pytest.raises(LabError, match="when it has ended"):
        bundle(lab, waiting, True)
    with pytest.raises(LabError):
        bundle(lab, None, True)


def test_an_imported_run_that_failed_is_not_resumed_here(lab, other):
    run_id = finished(lab, status="failed")
    assert view(lab, run_id).resume.visible
    actions.import_run(other, str(lab.export_bundle(run_id, False)))
    assert not view(other, run_id).resume.visible and view(other, run_id).delete.visible


def test_a_bad_file_is_refused_and_leaves_nothing(lab, tmp_path):
    bad = tmp_path / "x.zip"
    bad.write_bytes(b"PK")
    with pytest.raises(LabError, match="is not a whole zip"):
        actions.import_run(lab, str(bad))
    with pytest.raises(LabError, match="Choose a"):
        actions.import_run(lab, None)
    assert lab.registry.count_runs() == 0
    assert left_behind(lab.storage) <= {str(lab.storage.runs)}


def test_an_imported_run_s_texts_are_never_markup(lab, other):
    run_id = finished(lab, NASTY)
    lab.registry.update_run(run_id, note=NASTY, tags=[NASTY], versions={"x": NASTY}, error=NASTY)
    lab.registry.add_warning(run_id, NASTY)
    actions.import_run(other, str(lab.export_bundle(run_id, False)))
    run = other.registry.run(run_id)
    assert run.note == NASTY
    for html in (head_html(run, other.registry.scores(run_id)), settings_html(run)):
        assert "<img" not in html and "<b>bold" not in html


def test_deleting_a_run_deletes_its_export(lab):
    run_id = finished(lab)
    path = lab.export_bundle(run_id, False)
    lab.delete(run_id)
    assert not path.exists()


def test_the_merged_model_is_offered_with_its_size(lab):
    done, waiting = finished(lab), queued(lab)
    shown = view(lab, done)
    assert [value for _, value in shown.model_of.choices] == ["memorized", "generalized"]
    assert shown.model_of.value == "generalized" and shown.model.visible
    assert "About 538.0 MB" in shown.model_words.value and "1 min" in shown.model_words.value
    for run_id in (waiting, None):
        hidden = view(lab, run_id)
        assert not hidden.model.visible and not hidden.model_of.visible


def test_the_merged_model_is_packed_and_loads_without_rotelab(lab, tiny_folder, tmp_path):
    run_id = taught_run(lab, tiny_folder)
    button = merge_model(lab, run_id, "generalized")
    path = lab.model_file(run_id, "generalized")
    assert button.visible and button.label.startswith("Download the model (")
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).name for name in archive.namelist()}
        assert {"model.safetensors", "README.md", "config.json", "tokenizer.json"} <= names
        archive.extractall(tmp_path)
    (folder,) = tmp_path.glob(f"{run_id}*")
    assert AutoModelForCausalLM.from_pretrained(folder).dtype.is_floating_point
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing is left beside it"
    lab.delete(run_id)
    assert not path.exists()


def test_a_model_that_does_not_fit_on_the_disk_is_refused_before(lab, monkeypatch):
    run_id = finished(lab)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    with pytest.raises(LabError, match=r"needs 1\.6 GB .* only 1\.0 GB are free"):
        merge_model(lab, run_id, "generalized")
    assert not list(lab.storage.exports.iterdir())
