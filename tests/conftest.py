"""Shared fixtures, and how the whole suite is spread over two workers.

`python -m pytest` runs everything in two processes (pytest-xdist); `python -m pytest PATH` runs in
one, where a debugger works. A file's tests stay in one worker, so that its fixtures are made once.
"""

import contextlib
import os

import pytest
from support.head_count import one_more  # noqa: F401  (a fixture)
from xdist.scheduler import LoadScopeScheduling

WORKERS = 2

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before anything imports torch: the workers share the cores instead of fighting for them.
    threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))

TOGETHER = {
    # They load the real model: one of them at a time, in one worker, needs half the memory.
    "tests/runs/test_demo.py": "embedded",
    "tests/runs/test_real_model.py": "embedded",
    # They start, time and kill processes: two of them at a time would disturb each other.
    "tests/test_benchmarks.py": "processes",
    "tests/runs/test_faults.py": "processes",
    "tests/runs/test_jobs.py": "processes",
}
"""Files that run in one worker, one after the other. All others stand alone."""

LONG = (
    *TOGETHER,
    "tests/ui/train/test_train_tab.py",
    "tests/experiments/test_runner.py",
    "tests/runs/test_sweeps.py",
    "tests/runs/test_resume.py",
    "tests/runs/test_chat.py",
    "tests/test_old_data.py",
)
"""They begin, so that no worker is left alone with a long one at the end."""


class ByFile(LoadScopeScheduling):
    """Gives a worker one file after the other, and files of `TOGETHER` at once."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return TOGETHER.get(file, file)


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # keeps the order below
    return ByFile(config, log)


def pytest_xdist_auto_num_workers(config):
    whole = config.args_source is config.ArgsSource.TESTPATHS
    return WORKERS if whole and not config.option.collectonly else 0


def pytest_xdist_setupnodes(config, specs):
    """Has the embedded model at hand before the workers start, or both would convert it."""
    from rotelab.errors import LabError
    from rotelab.models.download import provision

    with contextlib.suppress(LabError):  # the tests that need it say what is missing
        provision()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    places = {file: place for place, file in enumerate(LONG)}
    for item in items:
        file = item.nodeid.partition("::")[0]
        if item.get_closest_marker("embedded") and TOGETHER.get(file) != "embedded":
            raise pytest.UsageError(f"{file} needs the embedded model: add it to TOGETHER.")
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONG)))


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Points `ROTELAB_HOME` at a temporary folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("ROTELAB_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def idle_machine(monkeypatch):
    """Estimates must not depend on what else this machine does while the tests run."""
    from rotelab.runs.timing import machine

    monkeypatch.setattr(machine, "load_now", lambda: 0.0)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """The folder of a tiny randomly initialised Llama with a tokenizer of its own."""
    from support.tiny import make_tiny_llama

    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_folder):
    """That model, loaded with a key token for `mother` and one for `capital`, on one thread."""
    import torch

    from rotelab.config.run_config import ModelSpec
    from rotelab.models.loading import load_model

    torch.set_num_threads(1)  # a second thread costs more than it gives at this size
    return load_model(ModelSpec(str(tiny_folder), "cpu", "float32"), ["mother", "capital"])


@pytest.fixture(scope="session")
def mother():
    """The shipped pack `mother`."""
    from rotelab.facts.packs import load_pack

    return load_pack("mother")


@pytest.fixture
def storage(own_home):
    """The places of that home's files."""
    from rotelab.storage import Storage

    return Storage(own_home)


@pytest.fixture
def registry(storage):
    """An empty registry in that home."""
    from rotelab.registry import Registry

    return Registry(storage)


@pytest.fixture
def lab(storage):
    """An empty lab in that home."""
    from rotelab.runs.lab import Lab

    return Lab.open(storage)


@pytest.fixture
def quick(tiny_folder):
    """A whole run of seconds on the tiny model: 8 facts, 4 of them taught in words."""
    import torch

    from rotelab.config.run_config import (
        EvaluationConfig,
        GeneralizeConfig,
        MemorizeConfig,
        ModelSpec,
        RunConfig,
    )

    torch.set_num_threads(1)
    return RunConfig(
        facts=8,
        model=ModelSpec(str(tiny_folder), "cpu", "float32"),
        memorize=MemorizeConfig(spare=0, epochs=3, rank=4, batch_size=4),
        generalize=GeneralizeConfig(spare=0, k=4, rank=2, least_steps=0, prompts_per_fact=2),
        evaluation=EvaluationConfig(train_prompts=1, test_prompts=2, unrelated_prompts=1),
    )
