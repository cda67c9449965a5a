"""The tutorial notebook: every cell runs, on a tiny model, and shows what it promises."""

import json
import os

import nbformat
import pytest
from nbclient import NotebookClient
from support.paths import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def notebook(tiny_folder, tmp_path_factory):
    """The notebook after all its cells were run."""
    home = tmp_path_factory.mktemp("tutorial")
    size = {
        "facts": 6, "k": 3, "model": str(tiny_folder), "device": "cpu", "phase1_epochs": 2,
        "phase1_rank": 4, "phase2_rank": 4, "prompts_per_fact": 1, "test_prompts": 1,
        "options": {
            "memorize.spare": 0, "generalize.spare": 0, "generalize.least_steps": 0,
            "evaluation.train_prompts": 1, "evaluation.unrelated_prompts": 1,
        },
    }  # fmt: skip
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    own = {
        "ROTELAB_HOME": str(home / "home"), "ROTELAB_TUTORIAL": json.dumps(size),
        "IPYTHONDIR": str(home / "ipython"), "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "PYTHONPATH": path, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    notebook = nbformat.read(TUTORIAL, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(home)}})
    client.execute(env=os.environ | own)
    return notebook


def shown(notebook, source):
    """What the cell with this in its source shows, by MIME type."""
    cell = next(cell for cell in notebook.cells if source in cell.source)
    kinds = ("execute_result", "display_data")
    found = [output.data for output in cell.outputs if output.output_type in kinds]
    return found[0] if found else {}


def test_every_cell_runs_and_shows_its_result(notebook):
    assert "Tutorial" in shown(notebook, "run = lab.run")["text/html"]
    assert "test_prompts_heldout" in shown(notebook, "run.scores")["text/html"]
    assert "application/vnd.plotly.v1+json" in shown(notebook, 'run.figure("similarity")')
    assert "Generalised" in shown(notebook, "Who is the mother of {")["text/html"]
    assert "Who is the mother of" in shown(notebook, "run.lens(")["text/html"]
    assert "tensor" in shown(notebook, "residual_stream")["text/plain"]
    assert "Ada Quill" in shown(notebook, "lesson = run.teach")["text/html"]
    assert "generalize.k" in shown(notebook, "lab.compare")["text/html"]
    assert "Two more" in shown(notebook, "lab.sql")["text/html"]


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(TUTORIAL, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
