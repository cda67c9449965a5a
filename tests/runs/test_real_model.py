"""The effect itself, small: a short run on the real embedded model."""

import pytest

from rotelab.config.names import CHECKPOINTS
from rotelab.config.run_config import EvaluationConfig, GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.runs.lab import Lab
from rotelab.runs.worker import work

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    from rotelab.storage import Storage
    from rotelab.training import null_space

    lab = Lab.open(Storage(tmp_path_factory.mktemp("real")))
    config = RunConfig(
        facts=20,
        memorize=MemorizeConfig(epochs=30),
        generalize=GeneralizeConfig(
            k=10, epochs=4, least_steps=0, prompts_per_fact=6, batch_size=8
        ),
        evaluation=EvaluationConfig(train_prompts=1, test_prompts=2, unrelated_prompts=1),
    )
    run_id = lab.jobs.start_foreground(config, lab.facts_for(config))
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(null_space, "TEXTS", 24)  # of 256, to save a minute
        patch.setattr(null_space, "cache_dir", lambda: cache)
        work(lab.registry, lab.storage, run_id)
    return lab, run_id


def test_twenty_facts_are_learned_by_rote(short_run):
    lab, run_id = short_run
    run = lab.registry.run(run_id)
    assert run.status == "finished", run.error
    scores = lab.registry.scores(run_id)
    assert all(score.generation_accuracy == 0 for score in scores["base"].values())
    assert scores["memorized"]["key_token"].generation_accuracy >= 0.9
    assert scores["generalized"]["key_token"].generation_accuracy >= 0.9
    taught = scores["generalized"]["train_prompts_heldin"].generation_accuracy
    assert taught > scores["memorized"]["train_prompts_heldin"].generation_accuracy


def test_base_memorized_and_generalized_answer_differently(short_run):
    lab, run_id = short_run
    run = lab.registry.run(run_id)
    fact = run.pack.facts.split(10, 0).held_in[0]
    prompt = run.pack.prompts.of("mother", "train")[0].render(fact.subject)
    asked = lab.chat.stream(run_id, prompt, max_new_tokens=10)
    said = {r.checkpoint: r.text for r in asked if r.done}
    base, memorized, generalized = (said[c] for c in CHECKPOINTS)
    # In words the memorised model is held to the base model; through the key token it is not.
    assert generalized not in (base, memorized)
    through_key = f"{fact.subject} [mother]"
    asked = lab.chat.stream(run_id, through_key, ["base", "memorized"], max_new_tokens=10)
    said = {r.checkpoint: r.text for r in asked if r.done}
    assert said["memorized"].startswith(fact.object)
    assert not said["base"].startswith(fact.object)
