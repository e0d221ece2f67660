"""The target: which task its values ask for, and how labels are read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftbook.data import flights, windows
from driftbook.data.targets import find_task_name, name_classes, parse_target
from driftbook.errors import UsageError
from driftbook.settings import Settings


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1, 1, 0], "binary"),
        ([True, False, None], "binary"),
        (["Yes", "no", "YES"], "binary"),
        (["t", "F"], "binary"),
        (["1", "0", " 1"], "binary"),
        ([0, 0, 0], "binary"),
        (["late", "on time"], "multiclass"),
        ([0, 1, 2], "multiclass"),
        (["1", "2", "3", None], "multiclass"),
        ([1.0, 2.0, 5.0, np.nan], "multiclass"),
        (list(range(21)), "regression"),
        ([0.5, 1.5, 2.5], "regression"),
        ([3, 7], "regression"),
        (["1.5", "2.25", "0"], "regression"),
    ],
)
def test_the_values_say_which_task_it_is(values: list[object], task: str) -> None:
    assert find_task_name(pd.Series(values), "y") == task
    assert find_task_name(pd.Series(values), "y", task) == task


@pytest.mark.parametrize(
    ("values", "wanted", "words"),
    [
        ([0, 1, 2], "binary", "model.task is 'binary'.*3 different values.*set model.task to 'mul"),
        (["a", "b", "c"], "regression", "set model.task to 'multiclass'"),
        (list(np.linspace(0, 1, 300)), "multiclass", "set model.task to 'regression'"),
        ([f"id {k}" for k in range(300)], "auto", "300 different text values"),
        ([None, None], "auto", "no value in any row"),
    ],
)
def test_a_wrong_guess_is_refused_with_the_setting_that_decides(
    values: list[object], wanted: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        find_task_name(pd.Series(values), "y", wanted)


def test_whole_numbers_are_values_where_the_settings_say_so() -> None:
    rooms = pd.Series([1, 2, 3, 4])
    assert find_task_name(rooms, "rooms", "regression") == "regression"
    assert find_task_name(pd.Series(range(40)), "age", "multiclass") == "multiclass"


def test_labels_are_kept_in_one_form_a_task() -> None:
    assert parse_target(pd.Series(["yes", "No"]), "binary").tolist() == [1, 0]
    assert parse_target(pd.Series([True, False]), "binary").dtype == "int64"
    gaps = parse_target(pd.Series(["y", None, "maybe", 0]), "binary")
    np.testing.assert_array_equal(gaps, [1.0, np.nan, np.nan, 0.0])
    values = parse_target(pd.Series(["1.5", None, "inf"]), "regression")
    np.testing.assert_array_equal(values, [1.5, np.nan, np.nan])
    assert name_classes(pd.Series([2.0, np.nan, 10.0])).fillna("gap").tolist() == ["2", "gap", "10"]
    assert name_classes(pd.Series([" late", "on time"])).tolist() == ["late", "on time"]


@pytest.mark.parametrize(
    ("target", "task"),
    [("delayed", "binary"), ("arrival_delay", "regression"), ("lateness", "multiclass")],
)
def test_flights_have_a_target_for_each_task(target: str, task: str) -> None:
    given = {"source": "flights", "target": target, "segments": ["origin", "carrier"]}
    found = windows.load_dataset(Settings.parse({"data": given}))
    assert found.task == task
    assert [f.name for f in found.features] == list(flights.FLIGHT_FEATURES)
    wanted = {"time_hour", *flights.FLIGHT_FEATURES, "origin", "carrier", target}
    assert set(found.frame.columns) == wanted


def test_the_three_targets_of_flights_agree() -> None:
    table, _ = flights.load_flights(None)
    minutes = table["arrival_delay"]
    assert ((minutes > 15) == (table["delayed"] == 1)).all()
    assert ((minutes > 60) == (table["lateness"] == "very late")).all()
    assert ((minutes <= 15) == (table["lateness"] == "on time")).all()
