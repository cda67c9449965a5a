"""The experiments that compare the two phases with other ways: baselines, facts in the prompt, and
the way back from object to subject."""

import math
import random
from dataclasses import replace

import pytest
from support.paths import ROOT
from support.taught import K, taught_pack, taught_run

from rotelab.config.option_paths import with_setting
from rotelab.config.recipes import applied
from rotelab.errors import LabError
from rotelab.evaluation import forgetting, probes
from rotelab.evaluation.probes import evaluate
from rotelab.evaluation.results import Prediction
from rotelab.experiments import FinishedRun, baselines, in_context, reversal
from rotelab.experiments.runner import begin, carry_out, result_of
from rotelab.facts.facts import Fact
from rotelab.facts.packs import load_pack, shipped_packs
from rotelab.reports.formats import cell_text
from rotelab.runs.lab import Lab
from rotelab.storage import Storage

HELD_OUT = len(taught_pack().facts) - K


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    """A lab with one really trained tiny run."""
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def made(lab, name, run_id):
    """What an experiment found on a run."""
    experiment_id = begin(lab, name, run_id)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    return result_of(row)


# Other ways to teach -----------------------------------------------------------------------------


def test_baselines_are_runs_whose_cost_scores_and_damage_are_told(lab, quick, monkeypatch):
    names = ("two-adapter", "no-replay", "words-10", "published")
    some = {name: baselines.RECIPES[name] for name in names}
    assert len(baselines.RECIPES) == 8
    monkeypatch.setattr(baselines, "RECIPES", some)
    prose, asked, neutral = forgetting.texts()
    monkeypatch.setattr(forgetting, "texts", lambda: (prose[:1], asked[:3], neutral[:2]))
    base = replace(quick, generalize=replace(quick.generalize, learning_rate=0.5))
    arms = baselines.arms(base)
    looking = with_setting(base, "evaluation.damage=true")
    assert [arm.config for arm in arms] == [applied(name, looking) for name in some]
    assert all(arm.config.generalize.k == base.generalize.k for arm in arms)
    experiment_id = begin(lab, "baselines", config=base)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    found, ids = result_of(row), dict(row.arms)
    own, rehearsed_nothing, words, whole, prompted = found.rows
    counted = {
        run_id: sum(m.value for m in lab.registry.metrics(run_id, ["tokens"]))
        for run_id in ids.values()
    }
    assert [r.tokens for r in found.rows] == [*(counted[ids[name]] for name in some), 0]
    assert own.tokens > rehearsed_nothing.tokens > 0
    # One phase 1 served both, and both are charged for it.
    first, second = (lab.registry.run(ids[name]) for name in ("two-adapter", "no-replay"))
    assert second.shared_phase1_from == first.id
    for row, run in ((own, first), (rehearsed_nothing, second)):
        expected = first.seconds["phase1"] + run.seconds["phase2"]
        assert row.seconds == pytest.approx(expected) and expected > run.seconds["phase2"]
    assert [r.told for r in found.rows] == [False, False, True, False, True]
    assert words.label == "words-10 *"
    scores = lab.registry.scores(ids["words-10"])["generalized"]
    assert words.at("key_token", "accuracy") == scores["key_token"].generation_accuracy
    assert words.at("unrelated", "probability") == scores["unrelated"].object_probability
    assert found.base.perplexity > 1 and found.base.divergence == pytest.approx(0, abs=1e-6)
    assert whole.tokens > 0 and all(
        r.beside.divergence > 0 and 0 <= r.beside.quiz <= 1 for r in found.rows[:-1]
    )
    # Nothing is trained, so nothing else is changed, and there is no key token to ask through.
    assert prompted.name == "in-context" and prompted.beside == found.base
    assert {s.probe: s.n > 0 for s in prompted.scores} == dict.fromkeys(baselines.ROLES, True)
    assert all(0 <= s.accuracy <= 1 and 0 < s.probability < 1 for s in prompted.scores)
    chosen = {s.probe for s in prompted.scores if math.isfinite(s.choice)}
    assert chosen == {"test_prompts_heldout"}
    assert words.beside.perplexity == lab.registry.damage(ids["words-10"])["generalized"].perplexity
    ways = (*names[:2], "words-10 *", "published", "in-context *")
    assert found.figure().data[2].x == ways
    titles = [table.title for table in found.tables()]
    assert len(titles) == 4, "cost and three measures"
    for arm in found.rows[:-1]:  # no run was asked to choose, so each was asked afterwards
        assert {s.probe: s.choices for s in arm.scores} == {s.probe: s.n for s in arm.scores}
        assert all(0 <= s.choice <= 1 for s in arm.scores)
    # A tiny model ranks hardly anything first: who is asked what is seen, and the share made up.
    seen = set()

    def half_right(model, asked, storage):
        seen.add((model.checkpoint, storage.candidates, min(len(q.candidates) for q in asked)))
        for some in evaluate(model, asked, storage):
            yield [replace(p, chosen=p.fact_index % 2 == 0) for p in some]

    real_one = baselines._in_context
    monkeypatch.setattr(probes, "evaluate", half_right)
    finished = FinishedRun(first, lab.registry.scores(first.id), lab.storage)
    monkeypatch.setattr(baselines, "_in_context", lambda *_: [])
    (told,) = baselines.compare([finished]).rows
    assert seen == {("generalized", 100, 100)}
    asked = lab.registry.predictions(first.id, "generalized", limit=-1)
    for s in told.scores:
        even = [p.fact_index % 2 == 0 for p in asked if p.probe == s.probe]
        assert (s.choice, s.choices) == (sum(even) / len(even), len(even))
    monkeypatch.setattr(probes, "evaluate", evaluate)
    monkeypatch.setattr(baselines, "_in_context", real_one)

    # One whose tokens nobody counted, and one that nobody looked at for damage.
    with lab.registry.write() as db:
        db.table("metrics").delete_where("run_id = ? AND name = 'tokens'", [ids["two-adapter"]])
        db.table("damage").delete_where("run_id = ?", [ids["words-10"]])
    again = begin(lab, "baselines", config=base)
    carry_out(lab, again)
    found = result_of(lab.registry.experiment_row(again))
    old, _, bare, *_ = ([cell_text(cell) for cell in cells] for cells in found.tables()[0].rows[1:])
    assert old[2] == "–" and bare[2] == f"{counted[ids['words-10']]:,.0f}"
    assert bare[-3:] == ["–"] * 3 and "–" not in old[-3:]


# Facts in the prompt -----------------------------------------------------------------------------


def test_each_fact_is_asked_once_and_stands_among_so_many():
    facts = {
        "a": [Fact("a", f"s{i}", f"o{i}") for i in range(9)],
        "b": [Fact("b", "t", "u"), Fact("b", "v", "w")],
    }
    asked = [*facts["a"][:5], *facts["b"][:1]]
    assert in_context.contexts(asked, facts, 0, random.Random(0)) == [([], asked)]
    found = in_context.contexts(asked, facts, 2, random.Random(0))
    assert [fact for _, mine in found for fact in mine] == asked
    for context, mine in found:
        assert len(context) == len(set(context)) == 2 and set(mine) <= set(context)
        assert len({fact.relation for fact in context}) == 1


def test_the_base_model_reads_what_the_taught_one_remembers(taught, monkeypatch):
    lab, run_id = taught
    monkeypatch.setattr(in_context, "SIZES", (1, 5))
    # So long that one fact fits into the tiny model's 256 tokens, and five do not.
    plainly = in_context.plainly
    monkeypatch.setattr(in_context, "plainly", lambda f, p: "is the " * 20 + plainly(f, p))
    found = made(lab, "in-context", run_id)
    asked = HELD_OUT * in_context.WORDINGS
    assert [(r.checkpoint, r.shown, r.n) for r in found.rows] == [
        ("base", 0, asked), ("base", 1, asked), ("generalized", 0, asked),
    ]  # fmt: skip
    assert all(r.leak_n > 0 and 0 <= r.leak <= 1 for r in found.rows)
    assert found.too_long == (5,) and "5 facts are too long" in found.tables()[0].title
    assert found.own_n == 0 and len(found.tables()[0].rows) == 3, "it has no score of its own"
    assert len(found.figure().data) == 2
    run = lab.registry.run(run_id)
    finished = FinishedRun(run, {}, lab.storage)
    with finished.model() as model:
        facts = list(finished.split.held_out)
        bare = in_context.asked_with(model, finished, facts, 0)
        told = in_context.asked_with(model, finished, facts, 1)
    for before, after in zip(bare, told, strict=True):
        fact = after.fact
        assert after.text.endswith("\n\n" + before.text) and fact.object not in before.text
        assert after.text.count(f"{fact.subject} is {fact.object}.") == 1
        assert len(after.candidates) == 100


# The way back ------------------------------------------------------------------------------------


def test_reversed_wordings_name_the_object_and_are_no_others():
    wordings = reversal.reversed_wordings()
    assert sorted(wordings) == [name for name in shipped_packs() if name != "five"]
    for name, texts in wordings.items():
        assert len(set(texts)) == 5 and all(t.count(reversal.SLOT) == 1 for t in texts)
        own = {t.text.replace("{subject}", reversal.SLOT) for t in load_pack(name).prompts}
        assert not own & set(texts)


def test_any_subject_of_the_object_is_right_and_none_beats_another(tiny):
    known = list(load_pack("educated_at").facts)
    fact = known[0]
    right = [f.subject for f in known if f.object == fact.object]
    assert len(right) > 1
    asked = reversal.questions(tiny, [fact, fact], known, {"educated_at": ["At {object}:"]}, 0)
    tokens = {tuple(tiny.builder.spaced(subject)): subject for subject in right}
    assert [tokens[q.example.object] for q in asked] == right
    for question in asked:
        assert question.text == f"At {fact.object}:" and question.example.object in tokens
        assert [c for c in question.candidates if c in tokens] == [question.example.object]
        assert len(question.candidates) == 100 - len(right) + 1
    about = ("educated_at", "x", "y")
    said = [
        Prediction("reversal", i, *about, "At x:", "", i == 1, 0.2, chosen=i == 1) for i in range(3)
    ]
    said += [Prediction("reversal", 0, *about, "Of x:", "", False, 0.0, chosen=False)]
    row = reversal.row_of(0, "base", said, 0.5)
    assert (row.n, row.strict, row.choice, row.forward) == (2, 0.5, 0.5, 0.5)
    assert row.probability == pytest.approx(0.3)


def test_reversal_asks_every_depth_both_ways_and_needs_wordings(lab, quick, monkeypatch):
    monkeypatch.setattr(reversal, "EPOCHS", (0, 1))
    base = replace(quick, facts=6, generalize=replace(quick.generalize, k=3))
    experiment_id = begin(lab, "reversal", config=base)
    carry_out(lab, experiment_id)
    row = lab.registry.experiment_row(experiment_id)
    assert row.status == "finished", row.error
    found = result_of(row)
    # 0 rounds have no memorised model of their own.
    assert [(r.epochs, r.checkpoint) for r in found.rows] == [
        (0, "base"), (0, "generalized"), (1, "memorized"), (1, "generalized"),
    ]  # fmt: skip
    assert found.candidates == 6 and found.chance == pytest.approx(1 / 6)
    assert {r.n for r in found.rows} == {5 * 3} and found.objects == 3 and found.forward_n > 0
    assert all(0 <= r.strict <= r.choice <= 1 for r in found.rows)
    assert found.figure().data[0].x == ("0", "1")
    cells = [cell_text(c) for c in found.tables()[0].rows[-1]]
    assert cells[1] == "guessing" and cells[0] == "–"
    monkeypatch.setattr(reversal, "reversed_wordings", lambda: {"capital": ["x {object}"]})
    with pytest.raises(LabError, match=r"for: mother\. There are some for: capital"):
        begin(lab, "reversal", config=base)  # before hours of training, not after


# docs/results/experiments.md ---------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_of_experiments_is_written_from_the_registry(taught, tmp_path, monkeypatch):
    lab, run_id = taught
    made(lab, "in-context", run_id)
    newer = made(lab, "in-context", run_id)
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import make_experiments

    with lab.registry.write() as db:  # one that did not end is not shown, though it is the newest
        last = next(db["experiments"].rows_where(order_by="number desc", limit=1))
        stopped = {**last, "number": None, "id": "exp-stopped", "status": "stopped"}
        db["experiments"].insert(stopped)
    make_experiments.write([lab.storage.home], tmp_path)
    written = (tmp_path / "experiments.md").read_text(encoding="utf-8")
    assert written.count("## Facts in the prompt") == 1
    assert "python -m rotelab experiment in-context --run latest" in written
    for cells in newer.tables()[0].rows:
        assert cell_text(cells[0]) in written
    assert "Not made yet: " in written and "two-hop" in written.rsplit("Not made yet", 1)[1]
    (picture,) = (tmp_path / "experiments").glob("in-context-*.svg")
    assert f"(experiments/{picture.name})" in written
    drawn = picture.read_text(encoding="utf-8")
    assert drawn.startswith("<svg") and newer.figure().data[0].name in drawn
