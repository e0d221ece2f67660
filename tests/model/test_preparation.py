"""Rows prepared by NumPy are scikit-learn's own, to the bit and in the same order in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer

from driftbook.data.columns import Feature
from driftbook.model.design import (
    build_preparation,
    encode_inputs,
    fit_preparation,
    model_inputs,
)

NUMBERS = tuple(Feature(f"x{k}", "numeric") for k in range(4))
WITH_TEXT = (NUMBERS[0], Feature("town", "categorical"), *NUMBERS[1:], Feature("on", "boolean"))


def _rows(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    towns = np.array(["Oslo", "Rome", None, "Lima"], dtype=object)
    return pd.DataFrame(
        {
            "x0": rng.normal(size=n) * 1e-7,
            "x1": np.where(rng.random(n) < 0.3, np.nan, rng.integers(0, 5, n)),
            "x2": np.full(n, np.nan),
            "x3": np.full(n, 7.1),
            "town": towns[rng.integers(0, len(towns), n)],
            "on": rng.random(n) < 0.5,
        }
    )


def _numbers_of(preparation: ColumnTransformer) -> list[np.ndarray]:
    impute, scale = preparation.named_transformers_["numeric"].named_steps.values()
    learnt = impute.statistics_, scale.mean_, scale.var_, scale.scale_, scale.n_samples_seen_
    return [np.asarray(one) for one in learnt]


@pytest.mark.parametrize("features", [NUMBERS, NUMBERS[:1], WITH_TEXT], ids=["4", "1", "text"])
@pytest.mark.parametrize("n", [1, 2, 7, 500, 5001])
def test_the_preparation_is_scikit_learns_to_the_bit(n: int, features: tuple[Feature, ...]) -> None:
    inputs = model_inputs(_rows(n), features).iloc[np.arange(n)]
    theirs, ours = build_preparation(features).fit(inputs), fit_preparation(features, inputs)
    for own, known in zip(_numbers_of(ours), _numbers_of(theirs), strict=True):
        np.testing.assert_array_equal(own, known)
    later = model_inputs(_rows(300, seed=1), features)
    for rows in (inputs, later):
        expected, found = theirs.transform(rows), encode_inputs(ours, rows)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(ours.transform(rows), expected)
        assert found.flags.f_contiguous == expected.flags.f_contiguous
        assert found.flags.c_contiguous == expected.flags.c_contiguous


def test_two_preparations_of_one_kind_share_nothing() -> None:
    inputs = model_inputs(_rows(50), NUMBERS)
    first = fit_preparation(NUMBERS, inputs)
    before = encode_inputs(first, inputs)
    fit_preparation(NUMBERS, inputs * 3 + 1)
    np.testing.assert_array_equal(encode_inputs(first, inputs), before)
