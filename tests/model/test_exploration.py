"""The look at the data, against SciPy, loops over pairs, and tables worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from driftbook.data.columns import Feature
from driftbook.model import exploration
from driftbook.model.tasks import MulticlassTask, RegressionTask, Task

NUMBER, TEXT, FLAG = (
    Feature("x", "numeric"),
    Feature("c", "categorical"),
    Feature("b", "boolean"),
)


def records(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return table.to_dict("records")


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    x = rng.normal(size=400)
    y = (x + rng.normal(size=400) > 0).astype(float)
    c = np.where(rng.random(400) < 0.3, "left", np.where(y == 1, "right", "middle"))
    return pd.DataFrame({"x": x, "c": c, "b": x > 1, "y": y})


def test_columns_counts_gaps_and_places_most_values() -> None:
    frame = pd.DataFrame({"x": [0.0, 10.0, 20.0, np.nan], "c": ["a", "a", None, "b"]})
    x, c = records(exploration.describe_columns(frame, [NUMBER, TEXT]))
    assert x["missing"] == 1
    assert x["missing_share"] == 0.25
    assert x["typical"] == 10.0
    assert x["low"] == pytest.approx(1.0)  # 5% of the way from 0 to 20
    assert c["distinct"] == 2
    assert c["most_common"] == "a (67%)"
    assert math.isnan(c["typical"])


def test_columns_of_a_column_without_any_value() -> None:
    (look,) = records(exploration.describe_columns(pd.DataFrame({"x": [np.nan, np.nan]}), [NUMBER]))
    assert look["missing"] == 2
    assert look["distinct"] == 0
    assert math.isnan(look["typical"])
    assert look["most_common"] == ""


def test_correlation_and_its_interval_agree_with_scipy(frame: pd.DataFrame) -> None:
    (row,) = records(exploration.measure_associations(frame, [NUMBER], "y"))
    oracle = stats.pearsonr(frame["x"], frame["y"])
    interval = oracle.confidence_interval(0.95)
    assert row["value"] == pytest.approx(oracle.statistic, abs=1e-12)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_cramers_v_is_one_for_a_copy_and_near_zero_for_noise() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    frame = pd.DataFrame({"c": np.where(y == 1, "yes", "no"), "n": rng.choice(list("abc"), 2000)})
    frame["y"] = y.astype(float)
    features = [Feature("c", "categorical"), Feature("n", "categorical")]
    copy, noise = records(exploration.measure_associations(frame, features, "y"))
    assert (copy["feature"], noise["feature"]) == ("c", "n")
    assert copy["value"] == pytest.approx(1.0, abs=1e-3)
    assert noise["value"] < 0.06


def test_association_that_cannot_be_had_is_not_a_number() -> None:
    frame = pd.DataFrame({"x": [5.0] * 10, "c": ["same"] * 10, "y": [0.0, 1.0] * 5})
    table = exploration.measure_associations(frame, [NUMBER, TEXT], "y")
    assert table["value"].isna().all()


def test_association_leaves_out_rows_with_a_gap(frame: pd.DataFrame) -> None:
    gap = frame.assign(x=frame["x"].where(frame.index >= 50))
    (row,) = records(exploration.measure_associations(gap, [NUMBER], "y"))
    (whole,) = records(exploration.measure_associations(frame.iloc[50:], [NUMBER], "y"))
    assert row["n"] == 350
    assert row["value"] == pytest.approx(whole["value"])


def test_leakage_is_the_share_of_pairs_in_the_right_order(frame: pd.DataFrame) -> None:
    train, holdout = frame.iloc[:300], frame.iloc[300:]
    (row,) = records(exploration.find_leaks(train, holdout, [NUMBER], "y"))
    ones = holdout.loc[holdout["y"] == 1, "x"].to_numpy()
    zeros = holdout.loc[holdout["y"] == 0, "x"].to_numpy()
    wins = sum((one > zero) + 0.5 * (one == zero) for one in ones for zero in zeros)
    assert row["alone"] == pytest.approx(wins / (len(ones) * len(zeros)), abs=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_copy_of_the_target_is_suspicious_in_either_direction(
    frame: pd.DataFrame, sign: float
) -> None:
    leaky = frame.assign(x=sign * frame["y"])
    first, second = records(
        exploration.find_leaks(leaky.iloc[:300], leaky.iloc[300:], [NUMBER, FLAG], "y")
    )
    assert first == {
        "feature": "x", "measure": "ROC AUC", "alone": 1.0, "n": 100, "suspicious": True,
    }  # fmt: skip
    assert not second["suspicious"]


def test_a_text_that_names_the_answer_is_suspicious(frame: pd.DataFrame) -> None:
    leaky = frame.assign(c=np.where(frame["y"] == 1, "late", "on time"))
    leaky.loc[399, "c"] = "never seen"
    (found,) = records(exploration.find_leaks(leaky.iloc[:300], leaky.iloc[300:], [TEXT], "y"))
    assert found["suspicious"]


def test_leakage_without_both_classes_is_not_a_number(frame: pd.DataFrame) -> None:
    one_class = frame[frame["y"] == 1]
    (found,) = records(exploration.find_leaks(frame, one_class, [NUMBER], "y"))
    assert math.isnan(found["alone"])
    assert not found["suspicious"]


REGRESSION, CLASSES = RegressionTask(1.0), MulticlassTask(("low", "middle", "high"))


@pytest.fixture
def sized() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    size = rng.lognormal(size=1200)
    groups = pd.cut(size, [0, 0.6, 1.6, np.inf], labels=["low", "middle", "high"]).astype(object)
    logged = np.log(size)
    frame = pd.DataFrame({"size": size, "class": groups, "copy": logged, "x": logged})
    frame["x"] += rng.normal(size=1200)
    frame["noise"] = rng.normal(size=1200)
    frame["letter"] = rng.choice(list("abcdefghij"), 1200)
    return frame


NUMBERS = [Feature(name, "numeric") for name in ("copy", "x", "noise")]
LETTER = Feature("letter", "categorical")


def test_classes_and_numbers_go_together_by_the_correlation_ratio(sized: pd.DataFrame) -> None:
    by_class = exploration.measure_associations(sized, NUMBERS, "class", CLASSES)
    assert by_class["measure"].unique().tolist() == ["correlation ratio"]
    found = by_class.set_index("feature")["value"]
    parts = [part for _, part in sized.groupby("class")["x"]]
    within = sum(((part - part.mean()) ** 2).sum() for part in parts) / (1200 - 3)
    assert found["x"] == pytest.approx(math.sqrt(1 - within / sized["x"].var()))
    assert found["noise"] < 0.1 < found["x"] < found["copy"]


def test_each_pair_of_kinds_has_its_measure(sized: pd.DataFrame) -> None:
    features = [NUMBERS[1], LETTER]
    values = exploration.measure_associations(sized, features, "size", REGRESSION)
    assert values.set_index("feature")["measure"].to_dict() == {
        "x": "correlation",
        "letter": "correlation ratio",
    }
    assert values["value"].tolist()[0] == pytest.approx(
        np.corrcoef(sized["x"], sized["size"])[0, 1]
    )
    assert abs(values["value"].tolist()[1]) < 0.1  # ten letters that mean nothing
    classes = exploration.measure_associations(sized, [LETTER], "class", CLASSES)
    assert classes["measure"].tolist() == ["Cramér's V"]


@pytest.mark.parametrize(
    ("task", "target", "measure"),
    [(REGRESSION, "size", "R²"), (CLASSES, "class", "ROC AUC")],
    ids=["values", "classes"],
)
def test_a_column_that_bends_or_orders_the_target_is_a_leak(
    sized: pd.DataFrame, task: Task, target: str, measure: str
) -> None:
    # The logarithm of a heavy-tailed target is no straight line, and a middle class no end of one.
    features = [*NUMBERS, LETTER]
    leaks = exploration.find_leaks(sized[:900], sized[900:], features, target, task)
    assert leaks.loc[leaks["suspicious"], "feature"].tolist() == ["copy"]
    assert leaks["measure"].unique().tolist() == [measure]
    told = leaks.set_index("feature")["alone"]
    assert told["noise"] < (0.1 if measure == "R²" else 0.6)
    assert told["noise"] < told["x"] < told["copy"]


@pytest.mark.parametrize(("task", "target"), [(REGRESSION, "copy"), (CLASSES, "class")])
def test_a_leak_in_text_is_found_and_odd_holdouts_are_not_a_number(
    sized: pd.DataFrame, task: Task, target: str
) -> None:
    named = sized.assign(letter=sized["copy"].round(1).astype(str))
    train, holdout = named[:900], named[900:]
    (leak,) = records(exploration.find_leaks(train, holdout, [LETTER], target, task))
    assert leak["suspicious"]
    odd = [holdout[:0], holdout[:1], holdout.assign(letter=None, x=np.inf)]
    for rows in odd:
        leaks = exploration.find_leaks(train, rows, [LETTER, NUMBERS[1]], target, task)
        assert not leaks["suspicious"].any()


def test_parts_say_what_came_in_terms_of_the_task(sized: pd.DataFrame) -> None:
    named = {"all": sized, "unlabelled": sized.drop(columns=["size", "class"])}
    values = exploration.describe_parts(named, "size", task=REGRESSION)
    assert values["mean"].tolist()[0] == pytest.approx(sized["size"].mean())
    assert values["sd"].tolist()[0] == pytest.approx(sized["size"].std(ddof=0))
    assert values["labelled"].tolist() == [1200, 0]
    classes = exploration.describe_parts(named, "class", task=CLASSES)
    counts = sized["class"].value_counts()
    assert classes["commonest"].tolist() == [counts.index[0], ""]
    assert classes["commonest_share"].tolist()[0] == pytest.approx(counts.iloc[0] / 1200)


def test_shared_rows_counts_twins_and_treats_gaps_as_equal() -> None:
    train = pd.DataFrame({"x": [1.0, np.nan, 3.0], "c": ["a", "b", "c"]})
    holdout = pd.DataFrame({"x": [1.0, np.nan, 3.0, 9.0], "c": ["a", "b", "other", "c"]})
    found = exploration.count_shared_rows(train, holdout, ["x", "c"])
    assert found == {"rows": 4, "shared": 2, "share": 0.5}
    assert math.isnan(exploration.count_shared_rows(train, holdout.iloc[:0], ["x", "c"])["share"])


def test_parts_say_where_rows_went() -> None:
    early = pd.DataFrame({"t": ["2020-01", "2020-02"], "y": [1.0, 0.0]})
    late = pd.DataFrame({"t": ["2020-03"]})
    training, current = records(
        exploration.describe_parts({"training": early, "current": late}, "y", "t")
    )
    assert training == {
        "part": "training",
        "rows": 2,
        "first": "2020-01",
        "last": "2020-02",
        "labelled": 2,
        "positive_share": 0.5,
    }
    assert current["labelled"] == 0
    assert math.isnan(current["positive_share"])
    (untimed,) = records(exploration.describe_parts({"all": early}, "y"))
    assert untimed["first"] == ""
