"""The registry's curves: metrics that pages poll, and the recall of each fact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database
from support.registry_tools import SLOW
from support.rows import pack_of

from rotelab.config.run_config import RunConfig
from rotelab.errors import UnknownRun
from rotelab.registry import FactRecall, Metric

METRICS = st.lists(
    st.builds(
        Metric,
        st.sampled_from(["memorize", "generalize", "evaluation"]),
        st.integers(0, 5),
        st.sampled_from(["loss", "recall"]),
        st.floats(width=32),
        st.integers(0, 3),
    ),
    max_size=12,
)


@SLOW
@given(batches=st.lists(METRICS, max_size=4))
def test_metrics_are_a_table_that_polls_lose_nothing_of(registry, batches):
    run = registry.create_run(RunConfig(), pack_of())
    expected, polled, seen = {}, {}, 0
    for batch in batches:
        registry.add_metrics(run, batch)
        expected |= by_place(batch)
        new = registry.metrics(run, after=seen)
        polled |= by_place(new)
        seen = max([seen, *(m.seq for m in new)])
    stored = registry.metrics(run)
    assert by_place(stored) == polled == expected
    phases = ["memorize", "generalize", "evaluation"]
    assert [m[:3] for m in stored] == sorted(
        expected, key=lambda place: (phases.index(place[0]), *place[1:])
    )
    losses = {place: value for place, value in expected.items() if place[2] == "loss"}
    assert by_place(registry.metrics(run, ["loss"])) == losses
    assert registry.metrics(run, []) == [] and registry.metrics(run, after=seen) == []


def by_place(rows):
    """Metrics by place. As text, because NaN equals nothing; -0.0 is stored as 0.0."""
    return {m[:3]: (str(m.value + 0.0), m.epoch) for m in rows}


def test_a_poll_reads_only_the_new_rows(registry, storage):
    plan = Database(storage.database).execute(
        "EXPLAIN QUERY PLAN SELECT * FROM metrics WHERE run_id = 'x' AND seq > 5"
    )
    assert "metrics_seq" in plan.fetchall()[0][-1]


def test_the_newest_of_a_metric_is_the_last_of_its_rows(registry, run):
    assert registry.newest_metric(run, "recall") is None
    for phase, step, value in (("generalize", 2, 0.25), ("memorize", 9, 0.5), ("memorize", 3, 1.0)):
        registry.add_metrics(run, [Metric(phase, step, "recall", value)])
    registry.add_metrics(run, [Metric("lesson", 1, "loss", 3.0)])
    assert registry.newest_metric(run, "recall") == 0.25 == registry.metrics(run, ["recall"])[-1][3]
    registry.add_metrics(run, [Metric("lesson", 1, "recall", 0.75)])
    assert registry.newest_metric(run, "recall") == 0.75


def test_measurements_of_no_run(registry):
    with pytest.raises(UnknownRun):
        registry.add_metrics("nobody", [Metric("memorize", 1, "loss", 0.5)])
    with pytest.raises(UnknownRun):
        registry.add_fact_recall("nobody", "memorize", 1, [])
    with pytest.raises(UnknownRun):
        registry.add_evaluation("nobody", "base", {}, [])
    with pytest.raises(UnknownRun):
        registry.add_similarities("nobody", [])


def test_fact_recall(registry, run):
    assert registry.fact_recall(run, "memorize") == []
    registry.add_fact_recall(run, "memorize", 0, [FactRecall(0, 0.0, False)])
    registry.add_fact_recall(run, "memorize", 2, [FactRecall(i, 0.1, False) for i in (2, 1, 0)])
    newer = [FactRecall(1, 0.5, True, said="Ma…"), FactRecall(0, 1, True)]
    registry.add_fact_recall(run, "memorize", 2, newer)
    latest = [FactRecall(0, 1.0, True, 2), FactRecall(1, 0.5, True, 2, "Ma…")]
    assert registry.fact_recall(run, "memorize") == registry.fact_recall(run, "memorize", 2)
    assert registry.fact_recall(run, "memorize") == latest
    assert registry.fact_recall(run, "memorize", "all") == [FactRecall(0, 0.0, False, 0), *latest]
    assert registry.fact_recall(run, "generalize") == []
