"""A run needs nothing that a Mac's GPU (MPS) lacks: float64, decompositions, operations without a
kernel there. No Mac is needed: every operation of a run on the CPU is looked at."""

import ast
import dataclasses
from pathlib import Path

import pytest
import torch
import torchgen
from support.paths import ROOT
from support.quick_runs import start
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves
from torchgen.gen import parse_native_yaml
from torchgen.model import DispatchKey

from rotelab.facts.facts import Fact
from rotelab.models import linear_algebra, lora
from rotelab.runs import worker
from rotelab.runs.chat import Chat
from rotelab.runs.lessons import teach
from rotelab.training import null_space
from rotelab.training.lessons import old_facts

WIDE = {torch.float64, torch.complex128}
ON_CPU = {
    lora: ("norm_of_product",),
    null_space: ("eigh",),
    old_facts: ("eigh",),
}
"""The functions that compute on a CPU copy, where they are called from."""

CPU_ONLY = {
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
}
"""What attention becomes on the CPU alone; `scaled_dot_product_attention` has a kernel of MPS."""


class Watching(TorchDispatchMode):
    """Refuses float64, and collects the names of all operations."""

    def __init__(self):
        super().__init__()
        self.called: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for thing in (*args, out):
            for tensor in thing if isinstance(thing, list | tuple) else (thing,):
                if isinstance(tensor, torch.Tensor) and tensor.dtype in WIDE:
                    raise AssertionError(f"{func} has a {tensor.dtype}, which MPS lacks")
        self.called.add(func.name())
        return out


@pytest.fixture
def watching(monkeypatch, tmp_path):
    """A mode for a `with` block; the functions that compute on the CPU are not looked at."""
    monkeypatch.setenv("ROTELAB_CACHE", str(tmp_path / "cache"))  # so that directions are computed
    monkeypatch.setattr(null_space, "TEXTS", 8)

    def unseen(function):
        def call(*args):
            with _disable_current_modes():
                return function(*args)

        return call

    for module, names in ON_CPU.items():
        for name in names:
            monkeypatch.setattr(module, name, unseen(getattr(linear_algebra, name)))
    return Watching()


@pytest.fixture(scope="session")
def lacking():
    """A function that says which of some operations have no kernel on MPS, by torch's own table."""
    folder = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native"
    parsed = parse_native_yaml(str(folder / "native_functions.yaml"), str(folder / "tags.yaml"))
    mps, known = parsed.backend_indices[DispatchKey.MPS], {}
    for function in parsed.native_functions:
        name = function.func.name
        composite = (
            function.has_composite_implicit_autograd_kernel
            or function.has_composite_explicit_autograd_kernel
            or function.has_composite_explicit_autograd_non_functional_kernel
        )
        # `add` is made from the kernel of `add.out`.
        delegate = function.structured_delegate
        there = mps.has_kernel(function) or (
            delegate is not None and str(delegate) in known and known[str(delegate)]
        )
        known[str(name)] = bool(there or composite)
    for function in parsed.native_functions:  # delegates that stand further down in the table
        if function.structured_delegate is not None:
            known[str(function.func.name)] |= known[str(function.structured_delegate)]

    def lacks(called):
        names = {name.removeprefix("aten::") for name in called if name.startswith("aten::")}
        return sorted(name for name in names if not known.get(name, False))

    return lacks


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_a_lesson_and_its_answers_need_no_more_than_a_mac_has(
    lab, quick, method, watching, lacking
):
    config = dataclasses.replace(
        quick,
        facts=4,
        method=method,
        generalize=dataclasses.replace(quick.generalize, k=2),
        memorize=dataclasses.replace(quick.memorize, spare=0.5 if method == "lora" else 0.0),
    )
    with watching:
        run_id = start(lab, config)
        worker.work(lab.registry, lab.storage, run_id)
        run = lab.registry.run(run_id)
        assert (run.status, run.error) == ("finished", "")
        assert list(Chat(lab.registry, lab.storage).stream(run_id, "Who is it?"))
        if method == "lora":
            new = [Fact("mother", "Zoë O'Hara", "Mia Stone")]
            options = {"epochs": 2, "least_steps": 2, "rank": 4}
            settings, pack = teach.plan_lesson(lab, run_id, new, options)
            lesson = lab.jobs.start_foreground(settings, pack, parent_id=run_id)
            worker.work(lab.registry, lab.storage, lesson)
            assert lab.registry.run(lesson).error == ""
    assert len(watching.called) > 90  # it has looked
    assert set(lacking(watching.called)) <= CPU_ONLY


def test_the_watch_sees_float64_and_what_a_mac_lacks(lacking):
    with Watching() as seen:
        with pytest.raises(AssertionError, match="float64"):
            torch.ones(2).double()
        torch.linalg.eigh(torch.eye(2))
    assert lacking(seen.called) == ["_linalg_eigh"]


def test_float64_and_decompositions_are_made_on_the_cpu():
    """On pretended tensors of a Mac, which have a device and a type but no numbers."""

    class Places(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for tensor in tree_leaves((args, out)):
                if isinstance(tensor, torch.Tensor) and tensor.device.type == "mps":
                    assert tensor.dtype not in WIDE, func
                    assert "linalg" not in func.name(), func
            return out

    with FakeTensorMode(), Places():
        matrix = torch.empty(6, 6, device="mps")
        values, vectors = linear_algebra.eigh(matrix)
        assert values.device.type == vectors.device.type == "mps"
        with pytest.raises(DataDependentOutputException):  # the last step: there is no number
            linear_algebra.norm_of_product(matrix, torch.empty(6, 6, device="mps"))


def test_the_norm_of_a_product_is_that_of_the_product():
    b, a = torch.randn(9, 3), torch.randn(3, 7)
    assert linear_algebra.norm_of_product(b, a) == pytest.approx(float((b @ a).norm()))


def test_no_other_file_uses_float64_or_decompositions():
    found = []
    for path in (ROOT / "rotelab").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name == "linear_algebra.py" or "import torch" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute):
                whole = ast.unparse(node)
                bad = whole in ("torch.float64", "torch.double", "torch.linalg", "torch.svd")
                if bad or node.attr == "double" or whole in ("torch.complex128", "torch.qr"):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {whole}")
    assert found == []
