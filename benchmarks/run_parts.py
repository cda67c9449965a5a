"""A run measured part by part: the meter, the operations counted from shapes, and the peak.

`run.py` is the command. Nothing here changes what a run computes.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F

from rotelab.evaluation import forgetting, probes
from rotelab.models.architecture.layout import base_layer, width_in
from rotelab.models.forward import bare
from rotelab.models.lab_model import LabModel
from rotelab.runs import internals, pipeline
from rotelab.runs.live.checks import LiveChecks
from rotelab.training import null_space

LOAD, DIRECTIONS, LIVE, DAMAGE, LOOKS, REST = (
    "load", "directions", "live questions", "damage", "representations", "rest",
)  # fmt: skip
PHASES = {"phase1": "phase 1", "phase2": "phase 2"}
ASKED = "evaluation: {}"
PEAK_TRIES = 5
LAYER = re.compile(r"\.(\d+)\.")


@dataclass
class Spent:
    """What a part of a run took.

    Args:
        wall: seconds.
        cpu: seconds of all threads of this process.
        tokens: nodes of packed rows that were read.
        flop: floating-point operations, see `Work`.
    """

    wall: float = 0.0
    cpu: float = 0.0
    tokens: float = 0.0
    flop: float = 0.0

    def add(self, other: Spent, share: float = 1.0) -> None:
        """Adds a share of what another took."""
        self.wall += share * other.wall
        self.cpu += share * other.cpu
        self.tokens += share * other.tokens
        self.flop += share * other.flop


class Meter:
    """Adds up what parts take. A part inside another counts for itself alone."""

    def __init__(self):
        self.parts: dict[str, Spent] = {}
        self._open: list[Spent] = []
        self._wall = self._cpu = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[Spent]:
        """Counts a block for a part of that name."""
        with self.alone() as spent:
            yield spent
        self.parts.setdefault(name, Spent()).add(spent)

    @contextmanager
    def alone(self) -> Iterator[Spent]:
        """Counts a block for no part; the caller says whose it is."""
        self._lap()
        spent = Spent()
        self._open.append(spent)
        try:
            yield spent
        finally:
            self._lap()
            self._open.pop()

    def computed(self, tokens: int, flop: float) -> None:
        """Counts a pass for the part that is open."""
        if self._open:
            self._open[-1].add(Spent(0.0, 0.0, tokens, flop))

    def _lap(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        if self._open:
            self._open[-1].add(Spent(wall - self._wall, cpu - self._cpu))
        self._wall, self._cpu = wall, cpu


class Work:
    """Floating-point operations of a pass, from its shapes.

    With n nodes, k nodes that they may see, w weights of a linear map with `i` inputs and `o`
    outputs, and an adapter of rank r on it:

    * forward: 2 n w for each map, 2 n r (i + o) for each adapter that acts, 4 n k h for the
      attention of a layer whose hidden size is h, and 2 times the head's weights for each node
      whose logits are wanted;
    * backward, from the lowest layer that is trained upwards: the same again for the inputs'
      gradients (twice for attention), once more for a map or an adapter that is itself trained,
      and the head's once.

    Elementwise work, norms, the optimizer, projections and `eigh` are not counted, nor are tokens
    that are written one by one outside packed rows.
    """

    def __init__(self, model: LabModel):
        self.hidden = model.layout.hidden
        self.maps = [
            (part.layer, bare(model.network).get_submodule(part.name))
            for part in model.layout.of("all")
        ]
        self.head = model.network.get_output_embeddings()
        self._sums: dict[tuple, tuple[float, ...]] = {}

    def of(self, model: LabModel, nodes: int, seen: int, kept: int, base: bool) -> float:
        """Operations of one pass.

        Args:
            model: as it is in the pass.
            nodes: that are computed.
            seen: nodes that they may see, cached ones included.
            kept: nodes whose logits are wanted.
            base: whether the adapters are turned off.
        """
        trains = torch.is_grad_enabled() and not base
        forward, backward, layers = self._sums_of(model, base, trains)
        head = 2.0 * kept * (base_layer(self.head).weight.numel() if self.head is not None else 0)
        attention = 4.0 * nodes * seen * self.hidden
        total = nodes * forward + attention * model.layers + head
        if layers:
            total += nodes * backward + 2 * attention * layers + head
        return total

    def _sums_of(self, model: LabModel, base: bool, trains: bool) -> tuple[float, float, int]:
        """Operations a node forward and backward, and through how many layers backward goes."""
        attached = tuple(getattr(model.network, "peft_config", ()))
        key = (model.checkpoint, base, trains, attached)
        if key not in self._sums:
            learned = [LAYER.search(name) for name in model.trainable()] if trains else []
            low = min((int(found[1]) if found else 0 for found in learned), default=model.layers)
            forward = backward = 0.0
            for layer, module in self.maps:
                parts = _parts(module, base)
                forward += sum(2 * weights for weights, _ in parts)
                if layer >= low:
                    backward += sum(2 * weights * (1 + grows) for weights, grows in parts)
            self._sums[key] = (forward, backward, model.layers - low)
        return self._sums[key]


def _parts(module, base: bool) -> list[tuple[int, bool]]:
    """The matrices that act in a linear map: their weights, and whether they are trained."""
    own = base_layer(module)
    parts = [(own.weight.numel(), own.weight.requires_grad)]
    if base or own is module:
        return parts
    return parts + [
        (one[name].weight.numel(), one[name].weight.requires_grad)
        for name in module.active_adapters
        for one in (module.lora_A, module.lora_B)
        if name in one
    ]


class MeasuredRun:
    """Has every part of a run counted by a meter, for the length of a block.

    Args:
        cache: an empty folder in place of the cache of directions; None for the usual one.
    """

    def __init__(self, cache: Path | None = None):
        self.meter = Meter()
        self.model: LabModel | None = None
        self.steps: list[int] = []
        self._cache = cache
        self._work: Work | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The block in which runs are measured."""
        places: list[tuple[Any, str, Callable]] = [
            (pipeline, "load_model", self._load(pipeline.load_model)),
            (pipeline, "directions", self._as(DIRECTIONS, pipeline.directions)),
            (LiveChecks, "begin", self._as(LIVE, LiveChecks.begin)),
            (LiveChecks, "_ask_all", self._as(LIVE, LiveChecks._ask_all)),
            (forgetting, "measure", self._as(DAMAGE, forgetting.measure)),
            (internals, "record_internals", self._as(LOOKS, internals.record_internals)),
            (pipeline.RunPipeline, "_learn", self._phase(pipeline.RunPipeline._learn)),
            (probes, "evaluate", self._asked(probes.evaluate)),
            (LabModel, "forward", self._pass(LabModel.forward)),
        ]
        if self._cache is not None:
            places.append((null_space, "cache_dir", lambda: self._cache))
        with ExitStack() as stack:
            for place, name, instead in places:
                stack.enter_context(mock.patch.object(place, name, instead))
            stack.enter_context(self.meter.part(REST))
            yield

    def _as(self, name: str, call: Callable) -> Callable:
        def counted(*args, **options):
            with self.meter.part(name):
                return call(*args, **options)

        return counted

    def _load(self, call: Callable) -> Callable:
        def counted(*args, **options):
            with self.meter.part(LOAD):
                self.model = call(*args, **options)
                self._work = Work(self.model)
            return self.model

        return counted

    def _phase(self, call: Callable) -> Callable:
        def counted(run, checkpoint, part, start):
            with self.meter.part(PHASES[part]):
                return call(run, checkpoint, part, start)

        return counted

    def _asked(self, call: Callable) -> Callable:
        """Each packed row's costs, divided among the probes by the tokens of their questions."""

        def counted(model, asked, config):
            lengths = {(q.probe, q.fact_index, q.text): len(q.example.ids) for q in asked}
            rows = call(model, asked, config)
            while True:
                with self.meter.alone() as spent:
                    found = next(rows, None)
                shares = Counter()
                for one in found or ():
                    shares[one.probe] += lengths[one.probe, one.fact_index, one.prompt]
                for probe, tokens in shares.items():
                    part = self.meter.parts.setdefault(ASKED.format(probe), Spent())
                    part.add(spent, tokens / shares.total())
                if found is None:
                    return
                yield found

        return counted

    def _pass(self, call: Callable) -> Callable:
        def counted(model, packed, keep=None, **options):
            nodes = packed.ids.shape[1]
            cached = options.get("key_positions")
            seen = nodes if cached is None else len(cached)
            kept = nodes if keep is None else len(keep)
            base = (options.get("checkpoint") or model.checkpoint) == "base"
            if self._work is not None:
                self.meter.computed(nodes, self._work.of(model, nodes, seen, kept, base))
            if torch.is_grad_enabled() and not base:
                self.steps.append(nodes)
            return call(model, packed, keep, **options)

        return counted

    def peak(self) -> tuple[float, float]:
        """What the model's own matrices reach at the mean length of a step, the best of a few.

        Returns:
            Operations a second, and a CPU second.
        """
        assert self.model is not None
        nodes = max(1, round(sum(self.steps) / max(1, len(self.steps))))
        of = [bare(self.model.network).get_submodule(m.name) for m in self.model.layout.of("all")]
        weights = [base_layer(module).weight.detach() for module in of]
        flop = sum(2.0 * nodes * weight.numel() for weight in weights)
        read = {width: torch.randn(nodes, width).to(weights[0]) for width in map(width_in, of)}
        rows = [read[width_in(module)] for module in of]
        transposed = self.model.layout.transposed
        walls, cpus = [], []
        for _ in range(PEAK_TRIES):
            meter = Meter()
            with meter.part("peak"), torch.inference_mode():
                for row, weight in zip(rows, weights, strict=True):
                    F.linear(row, weight.T if transposed else weight)
            walls.append(meter.parts["peak"].wall)
            cpus.append(meter.parts["peak"].cpu)
        return flop / min(walls), flop / max(min(cpus), 1e-9)


def peak_memory() -> float:
    """The most memory that this process has had so far, in MB."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def in_order(parts: Mapping[str, Spent]) -> Sequence[tuple[str, Spent]]:
    """The parts in the order of a run, probes in the middle."""
    order = (LOAD, DIRECTIONS, *PHASES.values(), LIVE)
    last = (DAMAGE, LOOKS, REST)
    middle = sorted(name for name in parts if name not in (*order, *last))
    return [(name, parts[name]) for name in (*order, *middle, *last) if name in parts]
