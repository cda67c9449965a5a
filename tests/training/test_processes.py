"""Several processes that train one run: the same steps, and the losses of one process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.paths import ROOT

from rotelab.models.tokens import Example
from rotelab.training.objective import Weights
from rotelab.training.sampler import Step

TRAIN = """if True:
    import json, sys, torch
    from dataclasses import replace
    from accelerate import Accelerator
    from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec
    from rotelab.facts.facts import FactSet
    from rotelab.facts.packs import load_pack
    from rotelab.models.loading import load_model
    from rotelab.training.events import StepEvent
    from rotelab.training.phases import generalize, memorize

    torch.set_num_threads(1)
    folder, out = sys.argv[1:]
    pack = load_pack("mother")
    facts = FactSet(list(pack.facts)[:9])
    model = load_model(ModelSpec(folder, "cpu", "float32"), ["mother"], 0)
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    rote = MemorizeConfig(spare=0, epochs=4, rank=4, batch_size=5)
    words = GeneralizeConfig(
        spare=0, noise=0.0, k=4, rank=2, averaged=1, epochs=1, least_steps=3, prompts_per_fact=2,
        batch_size=3,
    )
    steps = []
    about = (model, facts, rote, 0, accelerator)
    events = [*memorize(*about), *generalize(
        model, facts, list(facts)[:4], pack.prompts, words, 0, accelerator
    )]
    for event in events:
        if isinstance(event, StepEvent):
            steps.append((event.phase, event.step, event.loss))
        else:
            steps.append((event.phase, "recall", len(event.facts)))
    weights = [float(p.detach().double().sum()) for p in model.network.parameters()]
    if accelerator.is_main_process:
        json.dump({"steps": steps, "weights": weights, "n": accelerator.num_processes},
                  open(out, "w"))
"""


def trained(processes: int, tiny_folder, out) -> dict:
    """What one run of `TRAIN` told, in so many processes (gloo)."""
    script = out.with_suffix(".py")
    script.write_text(TRAIN, encoding="utf-8")
    launch = [sys.executable]
    if processes > 1:
        # What `accelerate launch` starts on cards; on a CPU it knows MPI alone.
        launch += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes]
    command = [*map(str, launch), str(script), str(tiny_folder), str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment())
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(out.read_text(encoding="utf-8"))


def environment():
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_two_processes_read_the_same_steps_and_lose_as_one(tiny_folder, tmp_path):
    one = trained(1, tiny_folder, tmp_path / "one.json")
    two = trained(2, tiny_folder, tmp_path / "two.json")
    assert (one["n"], two["n"]) == (1, 2)
    assert [s[:2] for s in one["steps"]] == [s[:2] for s in two["steps"]]
    assert {s[0] for s in one["steps"]} == {"memorize", "generalize"}
    losses = [[s[2] for s in told["steps"]] for told in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-3, abs=2e-2)


def test_unequal_parts_count_for_what_they_hold():
    def example(length, learned, kind="key"):
        loss = (False,) * (length - learned) + (True,) * learned
        return Example(tuple(range(length)), loss, (length - 1, length), kind)

    long, short, question = example(6, 3), example(4, 1), example(5, 2, "train")
    off = Example((1, 2, 3), (False,) * 3, (3, 3), "locality")
    whole = Step([long, short, question], [off])
    parts = [Step([long, question], [off]), Step([short], [])]
    weights = [Weights.of(part, whole, 2) for part in parts]
    assert weights[0].learned == pytest.approx(2 * 5 / 6)
    assert weights[1].learned == pytest.approx(2 * 1 / 6)
    assert [w.alignment for w in weights] == [2, 0] and [w.locality for w in weights] == [2, 0]
    assert [w.leak for w in weights] == [0, 0], "no sentence has an object"
