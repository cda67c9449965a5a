"""The paper's table as sweeps: what it lists, what it asks SLURM for, and refusals."""

from support.command_line import nothing_saved, refused, rotelab

from rotelab.config.option_paths import with_values
from rotelab.config.run_config import RunConfig
from rotelab.models.catalogue import CATALOGUE
from rotelab.runs.cluster.options import ClusterOptions
from rotelab.runs.plans.paper import AXES, paper_plan


def test_every_model_of_the_paper_has_its_runs(lab):
    parts = paper_plan(lab, RunConfig())
    assert [p.model for p in parts] == [e.name for e in CATALOGUE if e.name != "embedded"]
    assert {p.runs for p in parts} == {5 * 4 * 3 * 2 * 3}
    by_size = {p.model: p for p in parts}
    small, large = by_size["meta-llama/Llama-3.2-1B"], by_size["Qwen/Qwen2.5-14B"]
    assert 0 < small.hours < large.hours and small.memory_gb < large.memory_gb
    assert small.hours < small.total_hours < small.runs * small.hours


def test_the_user_s_word_goes_before_the_plan_s(lab):
    (part,) = paper_plan(lab, with_values(RunConfig(), {"model.name": "meta-llama/Llama-3.2-1B"}))
    own = part.options(ClusterOptions("slurm"))
    assert own.gpus == 1 and own.time_min >= 60 * part.hours and own.memory_gb >= part.memory_gb
    said = part.options(ClusterOptions("slurm", time_min=7, memory_gb=3, gpus=2))
    assert (said.time_min, said.memory_gb, said.gpus) == (7, 3, 2)


def test_a_dry_run_prints_the_table_and_the_scripts_and_writes_nothing(own_home):
    said = rotelab("sweep", "--plan", "paper", "--dry-run", "--partition", "gpu", "--on", "slurm")
    assert said.code == 0, said.err
    assert "Qwen/Qwen2.5-7B" in said.out and "hours, all runs" in said.out
    assert "#SBATCH --partition=gpu" in said.out and "#SBATCH --gpus-per-node=1" in said.out
    assert said.out.count("#SBATCH --array=0-359") == len(CATALOGUE) - 1
    nothing_saved(own_home)


def test_refusals(own_home):
    refused(rotelab("sweep", "--plan", "paper"), "--on slurm", "--dry-run")
    refused(rotelab("sweep", "--plan", "moon", "--dry-run"), "moon", "paper")
    refused(rotelab("sweep", "--plan", "paper", "--k", "1,2", "--dry-run"), "--plan uses")
    refused(rotelab("sweep", "--k", "1,2", "--dry-run"), "--plan paper")
    assert len(AXES) == 5
