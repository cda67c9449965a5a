"""The models and devices to choose from; devices are found without torch."""

import logging
import subprocess
import sys

import pytest

from rotelab.config.run_config import ModelSpec
from rotelab.models import catalogue

TWO = "echo 'NVIDIA H100 80GB HBM3, 81559'; echo 'NVIDIA A10, 23028'"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without tools; `machine(script)` gives it an nvidia-smi that runs the script."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(catalogue.platform, "system", lambda: "Linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    catalogue.devices.cache_clear()

    def with_tool(script):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    yield with_tool
    catalogue.devices.cache_clear()


def test_a_machine_without_a_card_has_its_cpu(machine):
    (fastest, auto), (words, cpu) = catalogue.devices()
    assert (auto, cpu) == ("auto", "cpu") and "the CPU" in fastest and "cores" in words


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_cards_are_listed_with_their_memory_in_their_order(machine, monkeypatch):
    machine(TWO)
    listed = catalogue.devices()
    assert [name for _, name in listed] == ["auto", "cuda:0", "cuda:1", "cpu"]
    assert listed[1][0] == "NVIDIA H100 80GB HBM3, 80 GiB (cuda:0)" and "H100" in listed[0][0]
    for name in (name for _, name in listed):
        ModelSpec(device=name)
    catalogue.devices.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [words for words, name in catalogue.devices() if name == "cuda:0"] == [
        "NVIDIA A10, 22 GiB (cuda:0)"
    ]
    catalogue.devices.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [name for _, name in catalogue.devices()] == ["auto", "cpu"]


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
@pytest.mark.parametrize(
    "script", ["exit 9", "echo 'No devices were found'", "echo 'A card, lots'"]
)
def test_a_tool_that_fails_is_logged(machine, script, caplog):
    machine(script)
    with caplog.at_level(logging.WARNING):
        assert [name for _, name in catalogue.devices()] == ["auto", "cpu"]
    assert "nvidia-smi" in caplog.text


def test_apple_s_gpu_is_listed(machine, monkeypatch):
    monkeypatch.setattr(catalogue.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(catalogue.platform, "machine", lambda: "arm64")
    assert [name for _, name in catalogue.devices()] == ["auto", "mps", "cpu"]


def test_it_needs_no_torch():
    code = (
        "import sys, rotelab.models.catalogue as d; d.devices(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
