"""What stands behind the metrics of each task, against scikit-learn, SciPy and loops over rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import classification_report, confusion_matrix, roc_auc_score

from driftbook.data.arrays import Floats
from driftbook.model import curves, task_curves
from driftbook.model.tasks import BINARY, MulticlassTask, RegressionTask, Task

CLASSES = MulticlassTask(("a", "b", "c"))
VALUES = RegressionTask(4.0)


@pytest.fixture(scope="module")
def classed() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(2)
    p = rng.dirichlet([2.0, 1.0, 1.0], size=2000)
    drawn = (rng.random(2000)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    return drawn.astype(float), p


@pytest.fixture(scope="module")
def valued() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(3)
    p = rng.normal(10, 2, size=2000)
    return p + rng.normal(0, 1 + 0.2 * np.abs(p - 10), size=2000), p


def test_no_skill_is_the_metric_of_always_the_same_answer(
    classed: tuple[Floats, Floats], valued: tuple[Floats, Floats]
) -> None:
    for task, (y, p) in ((CLASSES, classed), (VALUES, valued)):
        usual = task_curves.find_usual_outcome(task, y[:1500])
        table = task_curves.add_no_skill(task, task.summarise(y[1500:], p[1500:]), usual, y[1500:])
        bare = table.set_index("metric")["no_skill"]
        if task is CLASSES:
            commonest = np.bincount(y[:1500].astype(int)).argmax()
            assert bare["accuracy"] == pytest.approx((y[1500:] == commonest).mean())
            assert bare["roc_auc"] == 0.5
        else:
            errors = y[1500:] - y[:1500].mean()
            assert bare["mae"] == pytest.approx(np.abs(errors).mean())
            assert bare["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
            assert bare["r2"] <= 0.0
        better = table["value"] > table["no_skill"]
        assert better[table["metric"].isin(["roc_auc", "accuracy", "r2"])].all()
        assert not better[~table["metric"].isin(["roc_auc", "accuracy", "r2"])].any()


def test_no_skill_of_two_classes_is_their_base_rate() -> None:
    y = np.array([0.0, 0.0, 0.0, 1.0])
    usual = task_curves.find_usual_outcome(BINARY, y)
    metrics = pd.DataFrame({"metric": ["brier", "accuracy", "n_test"], "value": [0.1, 0.9, 4.0]})
    found = task_curves.add_no_skill(BINARY, metrics, usual, y)["no_skill"].tolist()
    assert found[:2] == pytest.approx([0.1875, 0.75])
    assert np.isnan(found[2])


def test_each_class_is_calibrated_as_two_classes_are(classed: tuple[Floats, Floats]) -> None:
    y, p = classed
    table = task_curves.measure_honesty(CLASSES, y, p)
    assert table["class"].unique().tolist() == ["a", "b", "c"]
    for k, (_, part) in enumerate(table.groupby("class")):
        alone = curves.measure_calibration((y == k).astype(float), p[:, k])
        pd.testing.assert_frame_equal(part.drop(columns="class").reset_index(drop=True), alone)


def test_values_are_compared_in_groups_with_students_interval(
    valued: tuple[Floats, Floats],
) -> None:
    y, p = valued
    table = task_curves.measure_honesty(VALUES, y, p)
    assert table["n"].sum() == 2000 and len(table) == 10
    first = np.sort(np.argsort(p)[:200])
    low, high = stats.t.interval(0.95, 199, y[first].mean(), stats.sem(y[first]))
    row = table.iloc[0]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    inside = (table["ci_low"] <= table["predicted"]) & (table["predicted"] <= table["ci_high"])
    assert inside.sum() >= 8
    # Ends scatter more than the middle, and the residuals say so.
    width = (table["residual_high"] - table["residual_low"]).to_numpy()
    assert min(width[0], width[-1]) > 1.2 * width[4]


def test_equal_values_share_one_group() -> None:
    table = task_curves.measure_honesty(VALUES, np.array([1.0, 2.0, 3.0]), np.full(3, 2.0))
    assert table["n"].tolist() == [3]
    alone = task_curves.measure_honesty(VALUES, np.array([1.0]), np.array([2.0]))
    assert alone["ci_low"].isna().all()


def test_classes_are_counted_as_scikit_learn_counts_them(classed: tuple[Floats, Floats]) -> None:
    y, p = classed
    table = task_curves.relate_outcomes(CLASSES, y, p)
    oracle = confusion_matrix(y, p.argmax(axis=1))
    counts = table.pivot_table(index="came", columns="said", values="n").to_numpy()
    assert counts.tolist() == oracle.tolist()
    assert table.groupby("came")["share"].sum().tolist() == pytest.approx([1, 1, 1])
    absent = task_curves.relate_outcomes(CLASSES, y[y < 2], p[y < 2])
    assert absent.loc[absent["came"] == "c", "share"].isna().all()
    found = task_curves.describe_classes(CLASSES, y, p).set_index("class")
    report = classification_report(y, p.argmax(axis=1), output_dict=True)
    for k, name in enumerate("abc"):
        assert found.loc[name, "found_share"] == pytest.approx(report[f"{k}.0"]["recall"])
        assert found.loc[name, "right_share"] == pytest.approx(report[f"{k}.0"]["precision"])
        assert found.loc[name, "auc"] == pytest.approx(roc_auc_score(y == k, p[:, k]))


def test_every_row_is_in_one_cell(valued: tuple[Floats, Floats]) -> None:
    y, p = valued
    cells = task_curves.relate_outcomes(VALUES, np.append(y, 1e9), np.append(p, 0.0))
    assert cells["n"].sum() == 2001
    assert cells["observed"].max() < 100  # one far outcome does not squeeze all others
    assert (np.corrcoef(cells["predicted"], cells["observed"])[0, 1]) > 0.5
    same = task_curves.relate_outcomes(VALUES, np.full(5, 2.0), np.full(5, 2.0))
    assert same["n"].tolist() == [5]


def test_acting_on_sure_rows_counts_like_a_loop(classed: tuple[Floats, Floats]) -> None:
    y, p = classed
    table = task_curves.weigh_actions(CLASSES, y, p, np.full(3, 1 / 3))
    assert table["threshold"].min() == 0.35  # the likeliest of three has a third at least
    for _, row in table.iterrows():
        acted = [k for k in range(len(y)) if max(p[k]) >= row["threshold"]]
        right = sum(p[k].argmax() == y[k] for k in acted)
        assert row["rows"] == len(acted)
        assert row["right_share"] == pytest.approx(right / len(acted))
    assert table["right_share"].iloc[-2] > table["right_share"].iloc[0] + 0.2
    nobody = task_curves.weigh_actions(CLASSES, y, np.full((2000, 3), 1 / 3), np.full(3, 1 / 3))
    assert nobody["right_share"].isna().all()


def test_errors_are_quantiles_beside_those_of_the_mean(valued: tuple[Floats, Floats]) -> None:
    y, p = valued
    table = task_curves.weigh_actions(VALUES, y, p, np.array([y.mean()])).set_index("within")
    half = table.loc[0.5]
    assert (np.abs(y - p) <= half["error"]).mean() == pytest.approx(0.5, abs=0.001)
    assert (np.abs(y - y.mean()) <= half["no_skill_error"]).mean() == pytest.approx(0.5, abs=0.001)
    assert (table["error"] < table["no_skill_error"]).all()


@pytest.mark.parametrize("task", [BINARY, VALUES])
def test_only_several_classes_are_described_one_by_one(task: Task) -> None:
    assert task_curves.describe_classes(task, np.array([0.0, 1.0]), np.array([0.2, 0.7])).empty
