"""The gap that lasts: against dense Gaussian conditioning, loops, and simulated levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from driftbook.decision.gap import (
    LASTING_TURNS,
    MOVING_SHARE,
    MOVING_WINDOWS,
    STILL_WINDOWS,
    GapMotion,
    GapReading,
    TrialEvidence,
    fit_motion,
    forecast_level,
    parse_evidence,
)
from driftbook.model.row_sums import RowSum

LOSS = 0.2


def _path(
    seed: int, windows: int, lasting: float, passing: float, noise: float
) -> list[GapReading]:
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(0.0, lasting, windows))
    read = truth + rng.normal(0.0, np.hypot(passing, noise), windows)
    return [GapReading(k + 1.0, float(gap), noise**2, 15) for k, gap in enumerate(read)]


def _conditioned(
    readings: Sequence[GapReading], slope: float, lasting: float, passing: float
) -> tuple[float, float]:
    """Return mean and sd of the last level given all readings, from the joint normal at once."""
    ages = np.array([r.age for r in readings])
    covariance = lasting * np.minimum.outer(ages, ages)
    noisy = covariance + np.diag([r.variance + passing for r in readings])
    weights = np.linalg.solve(noisy, covariance[-1])
    residual = np.array([r.gap for r in readings]) - slope * ages
    mean = slope * ages[-1] + weights @ residual
    return float(mean), float(np.sqrt(covariance[-1, -1] - weights @ covariance[-1]))


@pytest.mark.parametrize("seed", range(4))
def test_the_level_is_that_of_the_joint_normal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ages = np.cumsum(rng.uniform(0.3, 2.5, 6))
    gaps, noises = rng.normal(0.01, 0.02, 6), rng.uniform(1e-6, 4e-4, 6)
    readings = [
        GapReading(float(a), float(g), float(v), 15)
        for a, g, v in zip(ages, gaps, noises, strict=True)
    ]
    known = fit_motion(readings) + GapMotion(0.05, 4.0, 2e-3, 4, 3e-4, 3)
    found = forecast_level(readings, known, LOSS)
    mean, sd = _conditioned(readings, known.slope, known.lasting(LOSS), known.passing)
    assert found.mean == pytest.approx(mean, rel=1e-9)
    assert found.error == pytest.approx(sd, rel=1e-9)
    assert found.df == 15


def test_motion_by_hand() -> None:
    one, two, three = (
        GapReading(1, 0.02, 1e-4),
        GapReading(2, 0.05, 2e-4),
        GapReading(4, 0.03, 3e-4),
    )
    found = fit_motion([one, two, three])
    assert found.rise == pytest.approx(0.03) and found.windows == 4.0 and found.readings == 3
    square = 0.02**2 - 1e-4 + 0.03**2 - 3e-4 + 0.02**2 - 5e-4
    assert found.square == pytest.approx(square)
    assert found.reversal == pytest.approx(-0.02 * 0.03 - 1e-4 + 0.03 * 0.02 - 2e-4)
    assert found.turns == 2
    assert found.slope == pytest.approx(0.03 / (4.0 + STILL_WINDOWS))
    assert found.passing == 0.0  # the reversals are less than the readings' own noise
    prior = (MOVING_SHARE * LOSS) ** 2
    moved = (square + MOVING_WINDOWS * prior) / (4.0 + MOVING_WINDOWS)
    assert found.lasting(LOSS) == pytest.approx(max(moved, prior / 16))
    assert GapMotion(-1.0, 4.0).slope == 0.0
    assert GapMotion(reversal=0.4, turns=3).passing == pytest.approx(0.4 / (3 + LASTING_TURNS))


def test_motions_of_champions_add_up() -> None:
    first, second = _path(1, 5, 0.01, 0.0, 0.002), _path(2, 3, 0.01, 0.0, 0.002)
    both = fit_motion(first) + fit_motion(second)
    assert both.windows == 8.0 and both.readings == 8 and both.turns == 6
    assert both.rise == pytest.approx(first[-1].gap + second[-1].gap)
    lessons = TrialEvidence({"fading": RowSum(1.0, 2.0, 3.0, 4)}, RowSum(5.0, 6.0, 7.0, 8), both)
    assert parse_evidence(lessons.to_text()) == lessons
    assert (lessons + lessons).motion == both + both
    assert parse_evidence('{"leads": {}, "ageing": [0.0, 0.0, 0.0, 0]}').motion == GapMotion()


@pytest.mark.parametrize(("lasting", "passing"), [(0.02, 0.0), (0.005, 0.02), (0.01, 0.01)])
def test_what_lasts_and_what_passes_are_told_apart(lasting: float, passing: float) -> None:
    known = fit_motion(_path(7, 4000, lasting, passing, 0.002))
    assert known.lasting(LOSS) ** 0.5 == pytest.approx(lasting, rel=0.1, abs=1e-3)
    assert known.passing**0.5 == pytest.approx(passing, rel=0.1, abs=3e-3)


def test_the_error_is_honest_once_the_motion_is_known() -> None:
    lasting, passing, noise = 0.01, 0.008, 0.004
    known = fit_motion(_path(11, 4000, lasting, passing, noise))
    z = []
    for seed in range(400):
        rng = np.random.default_rng([12, seed])
        truth = np.cumsum(rng.normal(0.0, lasting, 6))
        read = truth + rng.normal(0.0, np.hypot(passing, noise), 6)
        readings = [GapReading(k + 1.0, float(g), noise**2, 15) for k, g in enumerate(read)]
        found = forecast_level(readings, known, LOSS)
        z.append((found.mean - truth[-1]) / found.error)
    assert np.mean(z) == pytest.approx(0.0, abs=0.15)
    assert np.std(z) == pytest.approx(1.0, abs=0.1)


def test_a_gap_that_comes_and_goes_is_worth_less_than_one_that_stays() -> None:
    here = [0.0, 0.0, 0.03]
    goes = fit_motion([GapReading(k + 1.0, g, 1e-6) for k, g in enumerate([0.03, 0.0] * 6)])
    stays = fit_motion([GapReading(k + 1.0, g, 1e-6) for k, g in enumerate([0.0] * 6 + [0.03] * 6)])
    readings = [GapReading(k + 1.0, g, 1e-6, 15) for k, g in enumerate(here)]
    passing, lasting = (forecast_level(readings, known, LOSS).mean for known in (goes, stays))
    assert passing < 0.5 * lasting and lasting > 0.02


def test_a_noisy_reading_hardly_counts_and_without_any_nothing_is_known() -> None:
    noisy = [GapReading(1.0, 0.5, 1e9, 3)]
    assert forecast_level(noisy, GapMotion(), LOSS).mean == pytest.approx(0.0, abs=1e-6)
    endless = [GapReading(1.0, 0.5, float("inf"), 1)]
    assert forecast_level(endless, GapMotion(), LOSS).mean == 0.0
    unread = forecast_level([], GapMotion(), LOSS)
    assert unread.mean == 0.0 and unread.error == float("inf") and unread.low(0.6) < -1e300
