"""Data quality: each fault is named, and neither noise nor drift is called one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from driftbook.data import synthetic, windows
from driftbook.data.columns import Kind
from driftbook.drift import quality
from driftbook.drift.profile import find_bins, profile_values
from driftbook.drift.quality import ProfiledColumn, QualityFinding
from driftbook.drift.units import find_unit_change
from driftbook.model.training import Model, train
from driftbook.settings import Settings

SETTINGS = Settings.parse({"data": {"source": "synthetic:outage"}})


def column(
    reference: object, current: object, kind: Kind = "numeric", run: int = 1
) -> ProfiledColumn:
    before, after = pd.Series(reference), pd.Series(current)
    bins = find_bins(before, kind)
    return ProfiledColumn("x", profile_values(before, bins), profile_values(after, bins), run)


def faults(
    reference: object, current: object, kind: Kind = "numeric", run: int = 1
) -> list[QualityFinding]:
    return quality.find_column_faults(column(reference, current, kind, run))


def names(reference: object, current: object, kind: Kind = "numeric") -> list[tuple[str, str]]:
    return [(finding.fault, finding.severity) for finding in faults(reference, current, kind)]


NORMAL = np.random.default_rng(0).normal(10.0, 2.0, size=1200)
WINDOW = np.random.default_rng(1).normal(10.0, 2.0, size=300)
LEVELS = np.random.default_rng(2).choice(["a", "b", "c"], size=1200, p=[0.6, 0.3, 0.1])


def holed(values: np.ndarray, share: float) -> np.ndarray:
    values = values.copy()
    values[: int(share * len(values))] = np.nan
    return values


@pytest.fixture(scope="module")
def model() -> Model:
    return train(synthetic.make_scenario("none", rows=1200, seed=1), SETTINGS)


@pytest.fixture
def window() -> pd.DataFrame:
    return synthetic.make_scenario("none", rows=1600, seed=1)[1200:].reset_index(drop=True)


@pytest.mark.parametrize(
    ("current", "found"),
    [
        (np.full(300, np.nan), [("all_missing", "broken")]),
        (holed(WINDOW, 0.3), [("missing", "broken")]),
        (holed(WINDOW, 0.06), [("missing", "note")]),
        (holed(WINDOW, 0.02), []),
        (np.full(300, 11.5), [("constant", "broken")]),
        (np.full(10, 11.5), [("constant", "broken")]),
        (WINDOW * 1000.0, [("unit", "broken")]),
        (WINDOW * 0.1, [("unit", "broken")]),
        (WINDOW / 1000.0, [("unit", "broken")]),
        (WINDOW * 2.54, [("unit", "note")]),
        (np.where(np.arange(300) < 30, -999.0, WINDOW), [("sentinel", "broken")]),
        (np.where(np.arange(300) < 60, 0.0, WINDOW + 0.0), []),
        (np.where(np.arange(300) < 60, 1000.0 * WINDOW, WINDOW), [("range", "broken")]),
        (WINDOW + 50.0, [("range", "note")]),
        (
            np.where(np.arange(300) < 30, np.inf, WINDOW),
            [("infinite", "broken"), ("range", "broken")],
        ),
        (np.where(np.arange(300) < 3, np.inf, WINDOW), [("infinite", "note")]),
        (pd.Series(["n/a"] * 30 + list(WINDOW[30:]), dtype=object), [("text", "broken")]),
        (pd.Series(["n/a"] * 3 + list(WINDOW[3:]), dtype=object), [("text", "note")]),
        (pd.Series(["n/a"] * 300), [("text", "broken")]),
    ],
)
def test_each_fault_of_a_number_column_is_named(
    current: object, found: list[tuple[str, str]]
) -> None:
    assert names(NORMAL, current) == found


@pytest.mark.parametrize(
    ("current", "found"),
    [
        (["A", "B", "A"] * 100, [("unseen", "broken")]),
        (["new"] * 60 + ["a", "b", "c"] * 80, [("unseen", "note")]),
        (["a"] * 300, [("constant", "broken")]),
        (["a"] * 10, []),
        ([None] * 300, [("all_missing", "broken")]),
        (["a", "b", "c", "c"] * 75, []),
    ],
)
def test_each_fault_of_a_category_is_named(current: object, found: list[tuple[str, str]]) -> None:
    assert names(LEVELS, pd.Series(current, dtype=object), "categorical") == found


@pytest.mark.parametrize("sd", [-3.0, -1.0, 1.0, 3.0])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_ordinary_drift_is_no_fault(sd: float, ratio: float) -> None:
    moved = (WINDOW - 10.0) * ratio + 10.0 + 2.0 * sd
    assert not [f for f in faults(NORMAL, moved) if f.severity == "broken"]


CELSIUS = np.random.default_rng(3).normal(14.0, 7.0, size=2000)
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "°C": lambda c: c,
    "°F": lambda c: c * 1.8 + 32.0,
    "K": lambda c: c + 273.15,
}


@pytest.mark.parametrize(("old", "new"), [("°F", "°C"), ("°C", "°F"), ("°C", "K"), ("K", "°C")])
def test_temperature_scales_are_recognised(old: str, new: str) -> None:
    warmer = np.random.default_rng(4).normal(15.0, 7.0, size=200)
    known = column(SCALES[old](CELSIUS), SCALES[new](warmer))
    found = find_unit_change(known.reference, known.current)
    assert found is not None and found.certain and found.words == f"as if {old} became {new}"
    assert find_unit_change(known.reference, known.reference) is None
    summer = column(SCALES[old](CELSIUS), SCALES[old](warmer / 2.0 + 22.0))
    assert find_unit_change(summer.reference, summer.current) is None


def test_the_factor_of_a_mostly_zero_column_is_read_from_its_other_values() -> None:
    rng = np.random.default_rng(4)

    def rain(n: int) -> np.ndarray:
        return np.where(rng.random(n) < 0.7, 0.0, rng.exponential(size=n))

    known = column(rain(2000), rain(600) * 25.4)
    found = find_unit_change(known.reference, known.current)
    assert found is not None and found.certain
    assert found.words.startswith("values are about 2")


def test_a_column_that_changes_rarely_may_be_constant_or_new_in_a_window() -> None:
    quarters = np.repeat([1.0, 2.0, 3.0], 400)
    assert names(quarters, np.full(300, 2.0)) == [("constant", "broken")]
    assert faults(quarters, np.full(300, 2.0), run=400) == []
    months = np.repeat(["jan", "feb"], 600)
    march = pd.Series(["mar"] * 300)
    assert [f.severity for f in faults(months, march, "categorical", run=600)] == ["note"]


def test_check_names_column_fault_and_values(model: Model, window: pd.DataFrame) -> None:
    spoilt = window.assign(f0=np.nan, f1=0.5, f2=window["f2"] * 1000.0).drop(columns="f3")
    found = quality.check_quality(model, spoilt, SETTINGS)
    assert tuple(found.columns) == quality.QUALITY_COLUMNS
    assert list(zip(found["feature"], found["fault"], strict=True)) == [
        ("f0", "all_missing"), ("f1", "constant"), ("f2", "unit"), ("f3", "absent"),
    ]  # fmt: skip
    assert (found["severity"] == "broken").all()
    details = found["detail"].tolist()
    assert details[1].startswith("constant at 0.5 (reference: 1200 different values)")
    assert details[2] == "unit changed: values are about 1,000 times the reference's"


@pytest.mark.parametrize(
    "scenario", ["none", "covariate", "irrelevant", "concept", "prior", "correlation"]
)
@pytest.mark.parametrize("rows", [50, 1200])
def test_scenarios_without_an_outage_have_no_fault(scenario: str, rows: int) -> None:
    table = synthetic.make_scenario(scenario, rows=1200 + rows, seed=2, onset=1200)
    found = quality.check_quality(train(table[:1200], SETTINGS), table[1200:], SETTINGS)
    assert found.empty


def test_a_flood_of_repeated_rows_is_found(model: Model, window: pd.DataFrame) -> None:
    assert quality.check_quality(model, window, SETTINGS).empty
    twice = pd.concat([window, window], ignore_index=True)
    found = quality.check_quality(model, twice, SETTINGS)
    assert found[["feature", "fault", "severity"]].to_numpy().tolist() == [
        ["(rows)", "duplicates", "broken"]
    ]
    assert "50.0% of rows repeat another row" in found["detail"][0]
    some = pd.concat([window, window[:40]], ignore_index=True)
    assert quality.check_quality(model, some, SETTINGS)["severity"].tolist() == ["note"]


def test_rows_that_repeat_by_nature_are_no_flood() -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.integers(0, 3, size=(4000, 3)), columns=list("abc")).astype(float)
    frame["target"] = rng.integers(0, 2, size=4000)
    known = train(frame[:1200], SETTINGS)
    assert quality.check_quality(known, frame[1200:], SETTINGS).empty


def test_missing_values_and_text_repeat_like_any_value(model: Model, window: pd.DataFrame) -> None:
    frame = window.assign(kind="x")
    table = synthetic.make_scenario("none", rows=1200, seed=1).assign(kind="x")
    known = train(table, SETTINGS)
    keys = quality._row_keys(known, pd.concat([frame, frame]).assign(f0=np.nan))
    assert len(np.unique(keys)) == len(window)


@pytest.mark.parametrize("n", [50, 500])
def test_noise_is_never_broken(n: int) -> None:
    rng = np.random.default_rng(n)
    makers: list[Callable[[int], np.ndarray]] = [
        rng.standard_cauchy,
        lambda k: np.exp(2.0 * rng.normal(size=k)),
        lambda k: rng.poisson(0.2, k).astype(float),
        lambda k: (rng.random(k) < 0.03).astype(float),
        lambda k: np.where(rng.random(k) < 0.95, 0.0, rng.pareto(1.5, k)),
        lambda k: np.where(rng.random(k) < 0.1, np.nan, rng.normal(size=k)),
    ]
    for make in makers:
        reference = make(1200)
        for _ in range(60):
            assert not [f for f in faults(reference, make(n)) if f.severity == "broken"]


def test_many_rare_levels_are_no_fault() -> None:
    rng = np.random.default_rng(6)
    weights = 1.0 / np.arange(1, 3001)
    pool = np.array([f"v{i}" for i in range(3000)])
    share = weights / weights.sum()
    for n in (50, 1200, 20_000):
        reference, current = rng.choice(pool, 1200, p=share), rng.choice(pool, n, p=share)
        assert names(reference, current, "categorical") == []


def test_an_empty_window_has_no_fault(model: Model, window: pd.DataFrame) -> None:
    assert quality.check_quality(model, window[:0], SETTINGS).empty


@pytest.mark.slow
def test_a_year_of_flights_has_no_broken_column() -> None:
    settings = Settings()
    dataset = windows.load_dataset(settings)
    first = pd.concat([dataset.rows(w) for w in dataset.windows[:2]], ignore_index=True)
    known = train(first, settings)
    for part in dataset.windows[2:]:
        found = quality.check_quality(known, dataset.rows(part), settings)
        assert not (found["severity"] == "broken").any(), part.name


def test_a_class_that_the_model_does_not_know_is_a_finding() -> None:
    settings = Settings.parse({"data": {"source": "synthetic:none?task=multiclass"}})
    frame = synthetic.make_scenario("none", task="multiclass")
    model = train(frame.iloc[:2400], settings)
    window = frame.iloc[2400:3600].reset_index(drop=True)
    assert quality.check_quality(model, window, settings).empty
    window.loc[:11, "target"] = "never seen"
    (found,) = quality.check_quality(model, window, settings).itertuples()
    assert (found.feature, found.fault, found.severity) == ("target", "unseen", "note")
    assert found.current_value == "1.0%"
    assert "'never seen'" in found.detail and "new artifacts folder" in found.detail
    assert quality.check_quality(model, window.drop(columns="target"), settings).empty


def test_a_column_of_more_levels_than_are_kept_is_no_fault() -> None:
    """The commonest of 20,000 levels were common by luck: in new rows fewer of them come back."""
    rng = np.random.default_rng(8)
    frame = synthetic.make_scenario("none", rows=60_000)
    frame["shop"] = [f"s{k}" for k in rng.integers(0, 20_000, len(frame))]
    model = train(frame.iloc[:40_000], SETTINGS)
    window = frame.iloc[40_000:].reset_index(drop=True)
    assert quality.check_quality(model, window, SETTINGS).empty
    # With fewer rare ones than that, new levels are still told.
    frame["shop"] = frame["shop"].where(frame.index % 5 == 0, "large")
    model = train(frame.iloc[:40_000], SETTINGS)
    window = frame.iloc[40_000:].reset_index(drop=True)
    assert quality.check_quality(model, window, SETTINGS).empty
    new = window.assign(shop=window["shop"].where(window.index >= 4000, "new"))
    (found,) = quality.check_quality(model, new, SETTINGS).itertuples()
    assert (found.feature, found.fault, found.severity) == ("shop", "unseen", "note")


@pytest.mark.parametrize(
    "values",
    [
        np.arange(300_000) * 0.01,  # a regular grid hashes as well as any
        np.repeat(np.random.default_rng(0).normal(size=150_000), 2),
        np.where(np.random.default_rng(1).random(300_000) < 0.06, 7.0, np.arange(300_000) / 3.0),
        np.append(np.arange(1000.0), [np.nan] * 500),
    ],
    ids=["grid", "pairs", "one value often", "missing"],
)
def test_different_values_are_estimated_to_a_fifth_of_a_percent(values: np.ndarray) -> None:
    found = quality._estimate_distinct(pd.Series(values))
    assert abs(found - len(np.unique(values))) < 0.002 * len(values)
