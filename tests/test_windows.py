"""What Windows does otherwise: names, paths and processes, as functions that run anywhere."""

import ast
import os
import subprocess
import sys
from urllib.parse import quote

import gradio as gr
import psutil
import pytest
from starlette.testclient import TestClient
from support.paths import ROOT
from support.quick_runs import start

from rotelab import storage as storage_module
from rotelab.config.reproduce import shell_line
from rotelab.errors import LabError
from rotelab.experiments import runner
from rotelab.registry.fact_sets import fact_set_name
from rotelab.runs import processes, worker
from rotelab.runs.export.bundle import import_bundle
from rotelab.runs.lab import Lab
from rotelab.storage import (
    LONGEST_HOME,
    LONGEST_STEM,
    RUN_ID,
    Storage,
    check_length,
    file_stem,
    flush,
    put_in_place,
    unquoted,
    written_whole,
)
from rotelab.ui.access import Access
from rotelab.ui.facts.draft import open_draft
from rotelab.ui.facts.export import export_files
from rotelab.ui.server import make_server_app

DEVICES = ("nul", "NUL", "con", "Con", "prn", "aux", "com1", "COM9", "lpt1", "COM¹", "conin$")
AWKWARD = "Übung & 100% [neu] #1 's"

# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [*DEVICES, "COM1.txt", "nul.", "con ", "mother.", "mother ", "a.b"]
)
def test_a_file_of_any_name_can_be_made_on_windows(name):
    stem = file_stem(name, "facts")
    assert stem == stem.rstrip(". ") and not set(stem) & set('<>:"/\\|?*.')
    assert stem.lower() not in ("nul", "con", "prn", "aux", "com1", "com9", "lpt1", "com¹")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("our own", "our_own"), ("Märchen & Söhne", "Märchen_Söhne"), ("母亲", "母亲"),
        ("...", "x"), ("", "x"),
        ("nul", "nul_"), ("console", "console"), ("a" * 80, "a" * LONGEST_STEM),
    ],
)  # fmt: skip
def test_what_a_person_called_it_stays_readable(name, stem):
    assert file_stem(name, "x") == stem


@pytest.mark.parametrize("name", ["nul", "con", "com1", "lpt9", "aux", "prn"])
def test_a_device_is_no_run(name, tmp_path):
    assert not RUN_ID.fullmatch(name) and RUN_ID.fullmatch(f"{name}-1")
    with pytest.raises(LabError, match="is not a run's id"):
        Storage(tmp_path).run_folder(name)


@pytest.mark.parametrize("name", ["nul", "COM1.txt", "mother.", "aux"])
def test_a_fact_set_of_any_name_is_saved_trained_and_exported(lab, name):
    assert fact_set_name(name) == name  # names are data; only files have rules
    draft = open_draft(lab, "mother")
    files = export_files(lab, draft.__class__(**{**vars(draft), "name": name}))
    assert {file.suffix for file in files} == {".csv", ".xlsx"}
    assert all(file.stem.lower() not in DEVICES for file in files)


# Paths ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (r'"C:\Users\Jörg Ä\My Lab & more"', r"C:\Users\Jörg Ä\My Lab & more"),
        ('" "', ""), ('"', '"'), (" /a b ", "/a b"), ("", ""), ("it's", "it's"),
    ],
)  # fmt: skip
def test_quotes_around_the_home_are_no_part_of_it(text, path, monkeypatch):
    assert unquoted(text) == path


def test_a_home_whose_files_could_not_be_opened_is_refused():
    check_length("C:\\" + "a" * (LONGEST_HOME - 3))
    with pytest.raises(LabError, match=r"has 101 characters.*ROTELAB_HOME.*LongPathsEnabled"):
        check_length("C:\\" + "a" * (LONGEST_HOME - 2))


def test_no_path_below_the_home_is_longer_than_was_thought(lab):
    """The longest ones: an adapter that is being written, and a table that is exported."""
    folder = lab.storage.run_folder("2" * 80) / "adapters" / "generalize"
    paths = [storage_module.beside(folder, f"{10**7}.tmp") / "adapter_model.safetensors"]
    draft = open_draft(lab, "mother")
    paths += export_files(lab, draft.__class__(**{**vars(draft), "name": "n" * 80}))
    longest = max(len(str(path.relative_to(lab.storage.home))) for path in paths)
    assert LONGEST_HOME + 1 + longest < 260


@pytest.fixture
def awkward(tmp_path, monkeypatch):
    """A lab in a home whose name has blanks, umlauts and signs."""
    monkeypatch.setenv("ROTELAB_HOME", f'"{tmp_path / AWKWARD}"')
    lab = Lab.open()
    assert lab.storage.home == tmp_path / AWKWARD
    return lab


def test_a_home_with_blanks_umlauts_and_signs_has_runs_and_files(awkward, quick, tmp_path):
    """A run, its bundle out and in again, and that file from the page."""
    run_id = start(awkward, quick)
    worker.work(awkward.registry, awkward.storage, run_id)
    run = awkward.registry.run(run_id)
    assert (run.status, run.error) == ("finished", "")
    bundle = awkward.export_bundle(run_id, adapters=True)
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Markdown("hello")
    app = make_server_app(awkward, demo, 7860, Access())
    with TestClient(app, base_url="http://127.0.0.1:7860") as client:
        assert client.get(f"/gradio_api/file={quote(str(bundle))}").content == bundle.read_bytes()
    other = Lab.open(Storage(tmp_path / "elsewhere & more"))
    assert run_id in import_bundle(other.registry, other.storage, bundle).sentence


def test_a_worker_starts_in_such_a_home_and_logs_every_character(awkward):
    code = "import os, rotelab; print(os.getcwd(), os.environ['ROTELAB_HOME'], '“母亲”')"
    log = awkward.storage.log_file("a-run")
    home = awkward.storage.home
    child, _ = processes.spawn([sys.executable, "-c", code, "a-run"], "a-run", home, log)
    assert child.wait(60) == 0
    assert log.read_text(encoding="utf-8").strip() == f"{home} {home} “母亲”"


# Writing ----------------------------------------------------------------------------------------


@pytest.fixture
def windows(monkeypatch):
    """Windows for `put_in_place`, which finds its target open a few times."""
    left = [0]

    def held_open(real):
        def call(source, target):
            if left[0] > 0:
                left[0] -= 1
                raise PermissionError(13, "The process cannot access the file")
            real(source, target)

        return call

    for name in ("rename", "replace"):
        monkeypatch.setattr(storage_module.os, name, held_open(getattr(os, name)))
    monkeypatch.setattr(storage_module.sys, "platform", "win32")
    return left


def test_what_is_open_for_a_moment_is_replaced_after_it(windows, tmp_path):
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    windows[0] = 3
    put_in_place(tmp_path / "new", tmp_path / "old")
    assert windows[0] == 0 and (tmp_path / "old").read_text() == "new"


def test_what_stays_open_is_an_error_and_nothing_is_lost(windows, tmp_path, monkeypatch):
    monkeypatch.setattr(storage_module, "PATIENCE_S", 0.1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("old")
    windows[0] = 1000
    with pytest.raises(PermissionError), written_whole(tmp_path / "folder") as work:
        (work / "a").write_text("new")
    assert (tmp_path / "folder" / "a").read_text() == "old"


def test_other_systems_do_not_wait(windows, tmp_path, monkeypatch):
    monkeypatch.setattr(storage_module.sys, "platform", "linux")
    (tmp_path / "new").write_text("new")
    windows[0] = 1
    with pytest.raises(PermissionError):
        put_in_place(tmp_path / "new", tmp_path / "old")


def test_windows_flushes_what_is_open_for_writing(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("x")
    flags, real = [], os.open
    monkeypatch.setattr(
        storage_module.os, "open", lambda path, flag: (flags.append(flag), real(path, flag))[1]
    )
    flush(tmp_path / "x")
    monkeypatch.setattr(storage_module.os, "name", "nt")
    flush(tmp_path / "x")
    assert flags == [os.O_RDONLY, os.O_RDWR]


# Processes --------------------------------------------------------------------------------------


def test_a_worker_gets_no_ctrl_c_of_the_terminal():
    assert processes.start_options(windows=False) == {"start_new_session": True}
    # CREATE_NEW_PROCESS_GROUP and CREATE_NO_WINDOW
    assert processes.start_options(windows=True) == {"creationflags": 0x00000200 | 0x08000000}


def test_a_worker_writes_its_log_in_utf_8(tmp_path):
    assert processes.environment("x", tmp_path)["PYTHONUTF8"] == "1"


@pytest.fixture
def stubborn():
    """A process that does not end when it is asked to."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True)"
    child = subprocess.Popen(
        [sys.executable, "-c", code + "; time.sleep(60)"], stdout=subprocess.PIPE
    )
    child.stdout.readline()
    yield child
    child.kill()
    child.wait()


def test_no_signal_is_used_that_windows_lacks():
    found = {
        node.attr
        for path in (ROOT / "rotelab").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr.startswith("SIG") and node.attr.isupper())
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.kill", "os.killpg"))
    }
    assert found == {"SIGINT"}


def test_a_worker_that_does_not_end_is_killed(stubborn):
    process = psutil.Process(stubborn.pid)
    processes.end_tree("nobody", process, wait_s=0.3, reap=stubborn.poll)
    assert processes.was_killed(stubborn.wait())
    assert not processes.was_killed(1) and not processes.was_killed(None)


def test_an_experiment_is_stopped_on_windows_after_its_run_has_saved(lab, quick, monkeypatch):
    """There no Ctrl-C can be sent, so its run is asked to stop, and the process is ended then."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        run_id = lab.registry.create_run(
            quick, lab.facts_for(quick), process=(child.pid, process.create_time())
        )
        experiment_id = lab.registry.create_experiment("depth", 1, quick, "mother", [("", run_id)])
        lab.registry.update_experiment(
            experiment_id, pid=child.pid, pid_started=process.create_time()
        )
        asked = []

        def until(done, wait_s, every_s=0.0):
            if not asked and lab.registry.stop_requested(run_id):
                asked.append(child.poll())  # it lives while its run saves
                lab.registry.set_status(run_id, "stopped", "")
            return done()

        monkeypatch.setattr(runner, "until", until)
        monkeypatch.setattr(runner.sys, "platform", "win32")
        runner.stop(lab, experiment_id)
        assert asked == [None] and child.wait() != 0
    assert lab.registry.experiment_row(experiment_id).status == "stopped"
    assert lab.registry.run(run_id).status == "stopped"


@pytest.mark.parametrize(
    ("word", "posix", "powershell"),
    [
        ("--pack", "--pack", "--pack"), ("a b", "'a b'", "'a b'"), ("", "''", "''"),
        ("it's", "'it'\"'\"'s'", "'it''s'"), (r"C:\x", r"'C:\x'", r"C:\x"), ("$x", "'$x'", "'$x'"),
        ("1,2", "1,2", "'1,2'"), ("@x", "@x", "'@x'"),
    ],
)  # fmt: skip
def test_commands_are_written_for_the_shell_of_the_system(word, posix, powershell):
    assert shell_line(["run", word], windows=False) == f"run {posix}"
    assert shell_line(["run", word], windows=True) == f"run {powershell}"
