"""A run on the tiny model, and its outcome."""


def start(lab, config):
    return lab.jobs.start_foreground(config, lab.facts_for(config))


def losses(lab, run_id):
    return [(m.phase, m.step, m.value) for m in lab.registry.metrics(run_id) if m.name == "loss"]


def outcome(lab, run_id):
    return lab.registry.scores(run_id), [
        (p.checkpoint, p.probe, p.prompt, p.answer, p.probability)
        for p in lab.registry.predictions(run_id, limit=-1)
    ]
