"""Sampling of rows: uniform, in order, the same every time, and only where rows are very many."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from driftbook.data import synthetic
from driftbook.data.sampling import draw_rows, take_sample
from driftbook.data.windows import load_dataset
from driftbook.decision.findings import examine_window, sample_rows
from driftbook.decision.policy import assess
from driftbook.model.training import find_version, train
from driftbook.settings import Settings

SAMPLE = 1000
WHOLE = Settings.parse({"data": {"source": "synthetic:concept"}})
SAMPLED = Settings.parse({"data": {"source": "synthetic:concept", "sample_rows": SAMPLE}})


@pytest.mark.parametrize(("rows", "size"), [(10_007, 1000), (2_000_003, 1000), (1001, 1000)])
def test_drawn_rows_are_distinct_in_order_and_uniform(rows: int, size: int) -> None:
    found = draw_rows(rows, size)
    assert len(found) == size
    assert (np.diff(found) > 0).all()
    assert found[0] >= 0 and found[-1] < rows
    assert np.array_equal(found, draw_rows(rows, size))
    assert stats.kstest(found / rows, "uniform").pvalue > 1e-3


def test_few_rows_are_taken_as_they_are() -> None:
    frame = pd.DataFrame({"x": range(5)})
    assert take_sample(frame, 5) is frame
    assert take_sample(frame, 3)["x"].is_monotonic_increasing


def test_a_window_keeps_its_weight_among_earlier_ones() -> None:
    current, history = pd.DataFrame({"x": range(4000)}), pd.DataFrame({"x": range(10_000)})
    now, before = sample_rows(current, history, 1000)
    assert before is not None
    assert (len(now), len(before)) == (1000, 2500)


def test_columns_count_all_rows_and_losses_a_sample() -> None:
    frame = synthetic.make_scenario("concept")
    model = train(frame.iloc[:2400], WHOLE)
    current, history = frame.iloc[-1200:], frame.iloc[2400:-1200]
    found = assess(model, current, SAMPLED, history)
    columns = found.drift[~found.drift["kind"].isin(["prediction", "joint"])]
    assert (columns["n_current"] == 1200).all()
    realised = found.performance[found.performance["basis"] == "realised"]
    assert (realised["n"] == SAMPLE).all()
    whole = assess(model, current, WHOLE, history)
    assert found.action == whole.action == "retrain"
    assert columns["psi"].tolist() == whole.drift["psi"].tolist()[: len(columns)]


def test_equal_rows_make_an_equal_version_where_they_are_sampled() -> None:
    frame = synthetic.make_scenario("none").iloc[:2400]
    model = train(frame, SAMPLED)
    assert len(model.reference) == SAMPLE
    assert model.version == find_version(frame, SAMPLED) == train(frame, SAMPLED).version
    assert model.version != find_version(frame, WHOLE)
    weights = np.linspace(0.5, 2.0, len(frame))
    weighted = train(frame, SAMPLED, weights=weights)
    assert len(weighted.reference) == SAMPLE
    assert weighted.version != model.version


def test_too_few_rows_are_told_by_the_whole_window() -> None:
    frame = synthetic.make_scenario("none")
    model = train(frame.iloc[:2400], WHOLE)
    terms = SAMPLED.policy.model_copy(update={"min_rows": 1100})
    strict = SAMPLED.model_copy(update={"policy": terms})
    assert not examine_window(model, frame.iloc[-1200:], strict).too_few


def test_a_sample_is_said() -> None:
    said = [note for note in load_dataset(SAMPLED).notes if "data.sample_rows" in note]
    assert len(said) == 1
    assert "1,200 rows" in said[0] and "1,000 drawn at random" in said[0]
    assert not any("sample_rows" in note for note in load_dataset(WHOLE).notes)
