"""The seven scenarios do what they say, and nothing else."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy import stats

from driftbook.data import synthetic
from driftbook.errors import UsageError
from driftbook.settings import SCENARIOS

ROWS, ONSET = 9000, 6000


def _halves(scenario: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = synthetic.make_scenario(scenario, rows=ROWS, onset=ONSET)
    return frame.iloc[:ONSET], frame.iloc[ONSET:]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_table_is_whole_and_repeatable(scenario: str) -> None:
    frame = synthetic.make_scenario(scenario, rows=300)
    assert list(frame.columns) == [*synthetic.SYNTHETIC_FEATURES, "target"]
    assert set(frame["target"].unique()) == {0, 1}
    pd.testing.assert_frame_equal(frame, synthetic.make_scenario(scenario, rows=300))
    assert not frame.equals(synthetic.make_scenario(scenario, rows=300, seed=1))


@pytest.mark.parametrize(
    ("scenario", "moved"),
    [
        ("none", set()),
        ("covariate", {"f0", "f1", "f3"}),
        ("irrelevant", {"f5", "f6", "f7"}),
        ("concept", set()),
        ("correlation", set()),
    ],
)
def test_just_the_named_margins_move(scenario: str, moved: set[str]) -> None:
    early, late = _halves(scenario)
    p_values = {f: stats.ks_2samp(early[f], late[f]).pvalue for f in synthetic.SYNTHETIC_FEATURES}
    assert {f for f, p in p_values.items() if p < 1e-4} == moved


def test_correlation_changes_sign_while_margins_stand() -> None:
    early, late = _halves("correlation")
    assert early["f5"].corr(early["f6"]) == pytest.approx(0.6, abs=0.04)
    assert late["f5"].corr(late["f6"]) == pytest.approx(-0.6, abs=0.04)


def test_prior_moves_the_base_rate_and_keeps_the_inputs_given_the_target() -> None:
    early, late = _halves("prior")
    assert late["target"].mean() == pytest.approx(0.75, abs=0.03)
    assert early["target"].mean() < 0.5
    for value in (0, 1):
        before, after = (h.loc[h["target"] == value, "f0"] for h in (early, late))
        assert stats.ks_2samp(before, after).pvalue > 0.001


def test_concept_changes_the_rule() -> None:
    early, late = _halves("concept")
    assert early["f0"].corr(early["target"]) > 0.2
    assert late["f0"].corr(late["target"]) < 0.0


def test_outage_breaks_three_columns() -> None:
    early, late = _halves("outage")
    assert late["f0"].isna().all() and late["f1"].nunique() == 1
    assert late["f2"].std() / early["f2"].std() == pytest.approx(1000, rel=0.1)


def test_a_timestamp_spreads_rows_over_a_year() -> None:
    frame = synthetic.make_scenario("none", rows=366, target="late", timestamp="at")
    assert frame.columns[0] == "at" and frame.columns[-1] == "late"
    assert frame["at"].dt.to_period("M").nunique() == 12
    assert frame["at"].is_monotonic_increasing and frame["at"].dt.year.eq(2024).all()


def test_unknown_scenario() -> None:
    with pytest.raises(UsageError, match="known: none, covariate"):
        synthetic.make_scenario("sideways")
