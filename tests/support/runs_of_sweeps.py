"""All that a run measured, to compare two runs."""

import math


def everything(lab, run_id):
    registry = lab.registry
    return {
        "scores": registry.scores(run_id),
        "answers": registry.predictions(run_id, limit=-1),
        "losses": [
            (m.phase, m.step, m.epoch, m.value)
            for m in registry.metrics(run_id, ["loss", "recall"])
            if not math.isnan(m.value)
        ],
        "recall": registry.fact_recall(run_id, "memorize", "all"),
        "similarities": registry.similarities(run_id),
        "lens": registry.lens(run_id),
        "weight_changes": registry.weight_changes(run_id),
        "damage": registry.damage(run_id),
        "real facts": registry.quiz_answers(run_id),
    }
