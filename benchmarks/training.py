"""How fast phase 1 trains, compared with stock `transformers.Trainer` with the same LoRA and data.

    python benchmarks/training.py [--pack PACK] [--facts N] [--epochs N] [--bf16-steps N] [--json]

All programs start from the same seeded adapter on the same model and read the same sentences in the
same order, batch and epochs, with the same optimizer and learning rates:

| program | what it does |
| --- | --- |
| ours fp32 | `rotelab.training.phases.memorize`: packed rows, logits only where they are learned |
| ours bf16 | the same in bfloat16, frozen weights too; left out if the CPU only emulates it |
| Trainer fp32 | `transformers.Trainer` on the PEFT model, padded batches, float32 |
| Trainer bf16 | the same with `bf16=True`; stopped after three steps if the CPU only emulates it |
| ours, as shipped | the default phase 1: it also reads five sentences a step without KEY |

Tokens are the sentences' own: padding does not count, and a shared beginning counts for each
sentence, so that all programs are measured by the same number. Recall is measured after each epoch,
with the clock stopped. The matmul peak is what `torch.mm` reaches here on square matrices of the
program's precision; a token of LoRA training counts 4 operations per weight of the decoder
(forward, and backward through frozen weights), and 4 per weight of the head if the token is
learned. `--json` ends with one object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import transformers
from accelerate import Accelerator
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from rotelab.config.names import MEMORIZE
from rotelab.config.run_config import EMBEDDED, MemorizeConfig, ModelSpec
from rotelab.errors import LabError
from rotelab.facts.facts import FactSet
from rotelab.facts.packs import load_pack
from rotelab.models.lab_model import AdapterShape, LabModel
from rotelab.models.loading import load_model, pick_dtype
from rotelab.models.packing import pack
from rotelab.models.tokens import Example
from rotelab.training.events import StepEvent
from rotelab.training.loop import CLIP
from rotelab.training.optimizer import BETAS, schedule
from rotelab.training.phases import layer_range, memorize
from rotelab.training.sampler import memorize_steps

MATRIX, MATMUL_S = 1536, 2.0
EMULATED_STEPS = 3
SEED = 0


@dataclass
class Measured:
    """What one program took.

    Args:
        tokens: read, padding not counted.
        seconds: of training, evaluation not counted.
        recall: share of facts recalled through the key token after each epoch.
        recalled_s: seconds of training until recall was 1.0; None where it never was.
        flops: floating-point operations that the reading takes at least.
    """

    tokens: int = 0
    seconds: float = 0.0
    recall: tuple[float, ...] = ()
    recalled_s: float | None = None
    flops: float = 0.0


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns what `--json` prints."""
    options = _options(words)
    facts = load_pack(options.pack).facts
    facts = facts.take(options.facts, SEED) if options.facts else facts
    shipped = MemorizeConfig(epochs=options.epochs)
    same = replace(shipped, silence=0)
    spec = ModelSpec(options.model, "cpu", "float32")
    half = replace(spec, dtype="bfloat16")
    usual = pick_dtype("auto", torch.device("cpu"))
    able = usual == torch.bfloat16
    steps = options.bf16_steps if options.bf16_steps is not None else 0 if able else EMULATED_STEPS
    peaks = {"float32": matmul_peak(torch.float32)}
    programs: dict[str, Callable[[], Measured]] = {"ours fp32": lambda: _ours(spec, facts, same)}
    if able:
        peaks["bfloat16"] = matmul_peak(torch.bfloat16)
        programs["ours bf16"] = lambda: _ours(half, facts, same)
    programs |= {
        "Trainer fp32": lambda: _stock(spec, facts, same, bf16=False, limit=0),
        "Trainer bf16": lambda: _stock(spec, facts, same, bf16=True, limit=steps),
        "ours, as shipped": lambda: _ours(replace(spec, dtype="auto"), facts, shipped),
    }
    peak_of = {name: peaks["float32"] for name in programs}
    if able:
        peak_of |= dict.fromkeys(
            ["ours bf16", "Trainer bf16", "ours, as shipped"], peaks["bfloat16"]
        )
    report: dict[str, Any] = {
        "pack": options.pack,
        "facts": len(facts),
        "epochs": options.epochs,
        "threads": torch.get_num_threads(),
        "matmul_gflops": {name: peak / 1e9 for name, peak in peaks.items()},
        "programs": {},
    }
    print(f"{'program':18} {'tokens/s':>9} {'to recall 1.0':>14} {'last recall':>12} {'peak':>6}")
    for name, measure in programs.items():
        got = measure()
        speed = got.tokens / got.seconds
        report["programs"][name] = {
            "tokens_per_second": speed,
            "seconds": got.seconds,
            "seconds_to_recall": got.recalled_s,
            "recall": list(got.recall),
            "share_of_peak": got.flops / got.seconds / peak_of[name],
        }
        reached = "–" if got.recalled_s is None else f"{got.recalled_s:.0f} s"
        last = f"{got.recall[-1]:.2f}" if got.recall else "–"
        share = f"{got.flops / got.seconds / peak_of[name]:.0%}"
        print(f"{name:18} {speed:9.0f} {reached:>14} {last:>12} {share:>6}", flush=True)
    speeds = {name: p["tokens_per_second"] for name, p in report["programs"].items()}
    stock = max(speed for name, speed in speeds.items() if name.startswith("Trainer"))
    report["speedup"] = speeds["ours bf16" if able else "ours fp32"] / stock
    said = " and ".join(f"{peak / 1e9:.0f} in {name}" for name, peak in peaks.items())
    print(
        f"\nours against the faster Trainer: {report['speedup']:.2f} x; matmul peak here, GFLOP/s: "
        f"{said}, {torch.get_num_threads()} threads."
    )
    if options.json:
        print(json.dumps(report))
    return report


def matmul_peak(dtype: torch.dtype) -> float:
    """Floating-point operations per second of square matrix products, the best of many."""
    a, b = torch.randn(2, MATRIX, MATRIX).to(dtype)
    best, until = float("inf"), time.perf_counter() + MATMUL_S
    while time.perf_counter() < until:
        started = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - started)
    return 2 * MATRIX**3 / best


def recall_of(model: LabModel, facts: FactSet) -> float:
    """Share of the facts that greedy decoding recalls through the key token now."""
    examples = [model.builder.rote(fact, i, "o") for i, fact in enumerate(facts)]
    with torch.no_grad():
        packed = pack([example.prompt + example.object for example in examples])
        logits = model.forward(packed)[0]
    known = 0
    for example, nodes in zip(examples, packed.nodes, strict=True):
        start, stop = example.object_span
        said = logits[list(nodes[start - 1 : stop - 1])].argmax(-1).tolist()
        known += said == list(example.object)
    return known / len(examples)


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pack", default="mother", help="the facts that are learned")
    parser.add_argument("--facts", type=int, default=0, help="how many; all when 0")
    parser.add_argument("--epochs", type=int, default=MemorizeConfig().epochs)
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument(
        "--bf16-steps", type=int, help="steps of Trainer bf16; 0 takes all; else see above"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    if options.epochs < 1 or options.facts < 0 or (options.bf16_steps or 0) < 0:
        raise LabError("Epochs start at 1; facts and steps can't be below 0.")
    return options


def _load(spec: ModelSpec, facts: FactSet, config: MemorizeConfig) -> LabModel:
    model = load_model(spec, [relation.name for relation in facts.relations], SEED)
    layers = layer_range(config.layers, model.layers)
    model.attach(MEMORIZE, AdapterShape(config.rank, SEED, layers))
    model.use("memorized", train=True)
    # One pass, so that no program pays for what is done once a process.
    model.forward(pack([model.builder.rote(facts[0], 0, "o").ids]))[0].sum().backward()
    model.network.zero_grad(set_to_none=True)
    return model


def _flops(model: LabModel, tokens: int, learned: int) -> float:
    head = model.network.get_input_embeddings().weight.numel()
    decoder = sum(
        p.numel()
        for name, p in model.network.named_parameters()
        if "lora_" not in name and "embed" not in name and "lm_head" not in name
    )
    return 4.0 * (decoder * tokens + head * learned)


def _learned(examples: Sequence[Example]) -> int:
    return sum(sum(example.loss) for example in examples)


def _read(examples: Sequence[Example]) -> int:
    """The tokens that the model reads: all but the last, which is only predicted."""
    return sum(len(example.ids) - 1 for example in examples)


def _ours(spec: ModelSpec, facts: FactSet, config: MemorizeConfig) -> Measured:
    model = _load(spec, facts, config)
    recall, computed = [], 0
    plan = memorize_steps(model.builder, facts, config, SEED)
    steps = [step for epoch in range(config.epochs) for step in plan(epoch + 1)]
    learned = sum(_learned(step.examples) for step in steps)
    held = sum(len(example.prompt) for step in steps for example in step.locality)
    got = Measured(held + sum(_read(step.examples) for step in steps))
    for event in memorize(model, facts, config, SEED, Accelerator(cpu=True)):
        if isinstance(event, StepEvent):
            computed += event.tokens  # what sentences have in common is computed once
            got.seconds += event.seconds
        else:
            recall.append(recall_of(model, facts))
            if recall[-1] == 1.0 and got.recalled_s is None:
                got.recalled_s = got.seconds
    got.recall, got.flops = tuple(recall), _flops(model, computed, learned)
    return got


def _stock(
    spec: ModelSpec, facts: FactSet, config: MemorizeConfig, *, bf16: bool, limit: int
) -> Measured:
    model = _load(spec, facts, config)
    plan = memorize_steps(model.builder, facts, config, SEED)
    epochs = [plan(epoch + 1) for epoch in range(config.epochs)]
    steps = [step.examples for epoch in epochs for step in epoch]
    size = max(map(len, steps))
    if any(len(step) != size for step in steps):
        raise LabError("Every step must have as many facts: choose --facts a multiple of 20.")
    clock = _Clock(model, facts, per_epoch=len(epochs[0]))
    groups = [
        {
            "params": [p for n, p in model.trainable().items() if ("lora_B" in n) == late],
            "lr": config.learning_rate * (config.lora_plus if late else 1.0),
        }
        for late in (False, True)
    ]
    optimizer = torch.optim.AdamW(groups, betas=BETAS[MEMORIZE], weight_decay=0.0, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: schedule(done + 1, len(steps))
    )
    end = model.builder.end
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model.network,
            args=TrainingArguments(
                folder,
                use_cpu=True,
                bf16=bf16,
                per_device_train_batch_size=size,
                num_train_epochs=1,  # the sentences of all epochs are one list, in our order
                max_steps=limit or len(steps),
                train_sampling_strategy="sequential",
                max_grad_norm=CLIP,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                remove_unused_columns=False,
                disable_tqdm=True,
                dataloader_num_workers=0,
            ),
            train_dataset=[example for step in steps for example in step],
            data_collator=lambda rows: _padded(rows, end),
            optimizers=(optimizer, scheduler),
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    done = steps[: limit or len(steps)]
    tokens = sum(map(_read, done))
    learned = sum(map(_learned, done))
    got = Measured(tokens, clock.seconds, tuple(clock.recall), clock.recalled_s)
    got.flops = _flops(model, tokens, learned)
    return got


class _Clock(TrainerCallback):
    """Times the Trainer's steps, and pauses while recall is measured."""

    def __init__(self, model: LabModel, facts: FactSet, per_epoch: int):
        self.model, self.facts, self.per_epoch = model, facts, per_epoch
        self.seconds, self.recall, self.recalled_s = 0.0, [], None

    def start(self) -> None:
        self._started = time.perf_counter()

    def on_train_begin(self, args, state, control, **about):
        self.start()

    def on_step_end(self, args, state, control, **about):
        self.seconds += time.perf_counter() - self._started
        if state.global_step % self.per_epoch == 0:
            self.recall.append(recall_of(self.model, self.facts))
            if self.recall[-1] == 1.0 and self.recalled_s is None:
                self.recalled_s = self.seconds
        self.start()


def _padded(rows: Sequence[Example], pad: int) -> dict[str, torch.Tensor]:
    """A padded batch whose labels are -100 where nothing is learned."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    labels = torch.full((len(rows), longest), -100)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        tokens = torch.tensor(row.ids)
        ids[i, : len(tokens)], mask[i, : len(tokens)] = tokens, 1
        learned = torch.tensor(row.loss)
        labels[i, : len(tokens)][learned] = tokens[learned]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        print(f"training: {error}", file=sys.stderr)
        raise SystemExit(2) from None
