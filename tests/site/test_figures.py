"""Figures: equal input gives equal bytes, changed input does not, and colours can be told apart."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

from driftbook.data.columns import Feature
from driftbook.model import curves, task_curves
from driftbook.model.tasks import MulticlassTask, RegressionTask, Task
from driftbook.site.figures import backtest, decision, model, outcomes, theme
from driftbook.site.figures.theme import Picture

BASELINE = Path(__file__).with_name("figures_baseline.json")
PNG_CHUNKS_OF_PIXELS = {b"IHDR", b"IDAT", b"IEND", b"pHYs", b"PLTE", b"tRNS"}


def rows(seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "speed": rng.normal(shift, 1, 600),
            "hours": rng.integers(0, 12, 600),
            "route": rng.choice(["north", "south", "a very long name"], 600),
            "night": rng.random(600) < 0.3,
        }
    )
    frame.loc[:30, "speed"] = np.nan
    return frame


FEATURES = (
    Feature("speed", "numeric"),
    Feature("hours", "numeric"),
    Feature("route", "categorical"),
    Feature("night", "boolean"),
)


def scored() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p = np.random.default_rng(4).beta(2, 4, 500)
    return (np.random.default_rng(5).random(500) < p).astype(float), p


def metrics() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "metric": ["roc_auc", "n_test"],
            "value": [0.71, 500.0],
            "ci_low": [0.66, np.nan],
            "ci_high": [0.76, np.nan],
        }
    )


def drift_report(flags: tuple[bool, ...] = (True, False, True)) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "feature": ["speed", "hours", "(joint)"],
            "effect": [0.6, -0.02, 0.3],
            "effect_low": [0.5, -0.08, 0.2],
            "effect_high": [0.7, 0.04, 0.4],
            "drift_flag": list(flags),
            "importance": [0.7, 0.3, np.nan],
            "n_reference": 1000,
            "n_current": 600,
        }
    )


def performance_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "metric": ["brier", "brier", "roc_auc"],
            "basis": ["realised", "estimated", "realised"],
            "n": 600,
            "value": [0.21, 0.19, np.nan],
            "ci_low": [0.20, 0.17, np.nan],
            "ci_high": [0.22, 0.21, np.nan],
            "baseline": 0.17,
            "baseline_low": 0.16,
            "baseline_high": 0.18,
        }
    )


def parts() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "part": ["covariate shift", "prior shift", "concept change", "total"],
            "status": "ok",
            "n": 600,
            "change": [-0.012, 0.002, 0.045, 0.035],
            "change_low": [-0.02, -0.004, 0.03, 0.02],
            "change_high": [-0.004, 0.008, 0.06, 0.05],
            "beyond_chance": [True, False, True, True],
        }
    )


def candidates() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "recipe": ["recent", "everything"],
            "gain": [0.02, 0.001],
            "gain_low": [0.01, -0.004],
            "gain_high": [0.03, 0.006],
            "n_gate": 300,
        }
    )


def record() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "window": [f"2020-{month:02d}" for month in range(1, 9)],
            "now": np.linspace(0.17, 0.24, 8),
            "now_low": np.linspace(0.16, 0.23, 8),
            "now_high": np.linspace(0.18, 0.25, 8),
            "baseline": 0.17,
        }
    )


def policies() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "policy": ["hindsight", "driftbook", "always", "never"],
            "retrains": [1, 2, 3, 0],
            "total_cost": [1.0, 1.02, 1.1, 1.3],
            "excess": [0.0, 0.02, 0.1, 0.3],
        }
    )


def schedule() -> pd.DataFrame:
    actions = ["first model", "hold: calm", "retrain: stale", "monitor: drift", "investigate: dead"]
    ours = pd.DataFrame(
        {
            "policy": "driftbook",
            "window": [f"2020-{month:02d}" for month in range(1, 6)],
            "retrained": [False, False, True, False, False],
            "loss": [0.2, 0.21, 0.19, 0.2, 0.2],
            "reason": actions,
        }
    )
    best = ours.assign(policy="hindsight", retrained=[False, True, False, False, False])
    always = ours.assign(policy="always", retrained=[False, True, True, True, True])
    return pd.concat([ours, best, always, ours.assign(policy="never", retrained=False)])


CLASSES, VALUES = MulticlassTask(("late", "on time", "very late")), RegressionTask(4.0)


def predicted(task: Task) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(6)
    if task is VALUES:
        p = rng.normal(10, 2, 800)
        return p + rng.normal(0, 1, 800), p
    p = rng.dirichlet([2.0, 2.0, 1.0], 800)
    return (rng.random(800)[:, None] > p.cumsum(axis=1)).sum(axis=1).astype(float), p


def draw_task_actions(task: Task) -> Picture:
    y, p = predicted(task)
    usual = task_curves.find_usual_outcome(task, y)
    return outcomes.draw_actions(task_curves.weigh_actions(task, y, p, usual), len(y))


TASK_FIGURES: dict[str, Callable[[Task], Picture]] = {
    "calibration": lambda task: outcomes.draw_calibration(
        task_curves.measure_honesty(task, *predicted(task))
    ),
    "outcomes": lambda task: outcomes.draw_outcomes(
        task_curves.relate_outcomes(task, *predicted(task)), metrics()
    ),
    "actions": draw_task_actions,
}
SERIES = {"loss": ("now", "now_low", "now_high"), "baseline": ("baseline", "", "")}
FIGURES: dict[str, Callable[[], Picture]] = {
    "distributions": lambda: model.draw_distributions(rows(), FEATURES),
    "side-by-side": lambda: model.draw_distributions(rows(), FEATURES, rows(1, 2.0)),
    "associations": lambda: model.draw_associations(
        pd.DataFrame(
            {
                "feature": ["a", "b"],
                "value": [0.3, -0.1],
                "ci_low": [0.2, -0.2],
                "ci_high": [0.4, 0.0],
            }
        ).assign(n=500)
    ),
    "calibration": lambda: outcomes.draw_calibration(curves.measure_calibration(*scored())),
    "roc": lambda: outcomes.draw_outcomes(
        curves.trace_roc_curve(*scored(), resamples=20), metrics()
    ),
    "threshold-costs": lambda: outcomes.draw_actions(curves.price_thresholds(*scored()), 500),
    **{
        f"{kind}-{task.name}": partial(draw, task)
        for task in (CLASSES, VALUES)
        for kind, draw in TASK_FIGURES.items()
    },
    "effect-sizes": lambda: model.draw_effect_sizes(drift_report(), 0.1),
    "importance-shift": lambda: model.draw_importance_shift(drift_report()),
    "performance": lambda: decision.draw_performance(performance_table()),
    "decomposition": lambda: decision.draw_causes(parts(), "brier"),
    "gains": lambda: decision.draw_gains(candidates(), 0.005, "brier"),
    "alarms": lambda: decision.draw_alarms(
        pd.DataFrame(
            {
                "source": ["(joint)", "(newer models)", "speed", "(loss)"],
                "share": [1.4, 0.6, 0.3, 0.0],
                "raised": [True, False, False, False],
            }
        )
    ),
    "story": lambda: decision.draw_story(
        pd.DataFrame(
            {
                "window": [f"2024-{month:02d}" for month in range(1, 8)],
                "loss": [0.2, 0.21, np.nan, 0.25, 0.3, 0.22, 0.21],
                "baseline": [0.2] * 5 + [0.21] * 2,
                "newer": [np.nan, 0.2, np.nan, 0.22, 0.2, np.nan, 0.21],
                "action": ["hold", "hold", None, "monitor", "retrain", "hold", "investigate"],
                "promoted": [False] * 4 + [True] + [False] * 2,
                "acknowledged": [False] * 6 + [True],
            }
        )
    ),
    "over-time": lambda: decision.draw_over_time(record(), SERIES, "Brier loss"),
    "excess": lambda: backtest.draw_excess(policies(), 5),
    "cost-by-retrains": lambda: backtest.draw_cost_by_retrains(policies()),
    "decisions": lambda: backtest.draw_schedule(schedule()),
    "losses": lambda: backtest.draw_losses(schedule(), "brier"),
    "nothing": lambda: theme.draw_nothing("Nothing to draw."),
}


@cache
def drawn(name: str) -> Picture:
    return FIGURES[name]()


def pixels(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"))


def has_colour(picture: Picture, colour: str) -> bool:
    wanted = np.round(np.array(to_rgb(colour)) * 255)
    near = np.abs(pixels(picture).astype(float) - wanted).max(axis=2) <= 2
    return int(near.sum()) > 40


@pytest.mark.parametrize("name", FIGURES)
def test_equal_input_gives_equal_bytes_and_nothing_but_pixels(name: str) -> None:
    first, second = drawn(name), FIGURES[name]()
    assert first.png == second.png
    chunks = set(re.findall(rb"[A-Za-z]{4}", b"".join(chunk_names(first.png))))
    assert chunks <= PNG_CHUNKS_OF_PIXELS
    assert pixels(first).std() > 0


def chunk_names(png: bytes) -> list[bytes]:
    names, place = [], 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        names.append(png[place + 4 : place + 8])
        place += 12 + length
    return names


def test_bytes_do_not_depend_on_the_process() -> None:
    code = "import test_figures as t, hashlib;"
    code += "print(hashlib.sha256(t.FIGURES['side-by-side']().png).hexdigest())"
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "MPLBACKEND": "svg"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=BASELINE.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout.strip())
    assert found == {hashlib.sha256(drawn("side-by-side").png).hexdigest()}


def test_a_users_own_style_does_not_leak_in() -> None:
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 20}):
        assert FIGURES["gains"]().png == drawn("gains").png


def test_figures_look_as_they_did() -> None:
    """Compares with recorded hashes; DRIFTBOOK_RECORD_PLOTS=1 records them anew after a look."""
    version = {"matplotlib": mpl.__version__, "numpy": np.__version__}
    found = {name: hashlib.sha256(drawn(name).png).hexdigest() for name in FIGURES}
    if os.environ.get("DRIFTBOOK_RECORD_PLOTS"):
        BASELINE.write_text(json.dumps({**version, "figures": found}, indent=1) + "\n", "utf-8")
    recorded = json.loads(BASELINE.read_text(encoding="utf-8"))
    if {key: recorded[key] for key in version} != version:
        pytest.skip(f"recorded with other versions than {version}")
    assert found == recorded["figures"]


def test_order_of_rows_changes_nothing() -> None:
    mixed = rows().sample(frac=1.0, random_state=1)
    assert model.draw_distributions(mixed, FEATURES).png == drawn("distributions").png


def test_other_input_gives_another_picture() -> None:
    assert model.draw_distributions(rows(9), FEATURES).png != drawn("distributions").png


def test_flag_colour_is_there_only_when_something_is_flagged() -> None:
    quiet = model.draw_effect_sizes(drift_report((False, False, False)), 0.1)
    assert has_colour(drawn("effect-sizes"), theme.CURRENT)
    assert not has_colour(quiet, theme.CURRENT)


def test_paying_challenger_is_green_only_when_its_cautious_gain_pays() -> None:
    assert has_colour(decision.draw_gains(candidates(), 0.005, "brier"), theme.GOOD)
    assert not has_colour(decision.draw_gains(candidates(), 0.011, "brier"), theme.GOOD)


def test_a_part_is_coloured_only_beyond_chance() -> None:
    assert has_colour(drawn("decomposition"), theme.CURRENT)
    assert has_colour(drawn("decomposition"), theme.GOOD)
    calm = decision.draw_causes(parts().assign(beyond_chance=False), "brier")
    assert not has_colour(calm, theme.CURRENT)
    assert not has_colour(calm, theme.GOOD)


@pytest.mark.parametrize(
    "picture",
    [
        lambda: decision.draw_performance(pd.DataFrame()),
        lambda: decision.draw_performance(performance_table().assign(value=np.nan)),
        lambda: decision.draw_causes(parts().assign(change=np.nan), "brier"),
        lambda: decision.draw_gains(pd.DataFrame(), 0.1, "brier"),
        lambda: decision.draw_over_time(pd.DataFrame(), SERIES, "loss"),
        lambda: model.draw_distributions(rows(), []),
        lambda: model.draw_effect_sizes(drift_report().assign(effect=np.nan)),
        lambda: model.draw_importance_shift(drift_report().assign(importance=np.nan)),
        lambda: model.draw_associations(pd.DataFrame({"value": [np.nan]})),
    ],
)
def test_nothing_to_draw_says_so_in_a_small_picture(picture: Callable[[], Picture]) -> None:
    drawn = picture()
    assert drawn.height < 120
    assert drawn.text.endswith(".")


@pytest.mark.parametrize(
    "values",
    [[np.nan, np.nan], [5.0, 5.0], [np.inf, 1.0], [1e-300, 1e300], [-1e6, 1e6]],
)
def test_odd_columns_are_drawn_without_a_warning(values: list[float]) -> None:
    frame = pd.DataFrame({"speed": values})
    assert model.draw_distributions(frame, FEATURES[:1], frame).png


def test_pictures_fit_a_page_and_show_their_size() -> None:
    for name in FIGURES:
        picture = drawn(name)
        assert picture.width == 560
        assert len(picture.png) < 250_000
        data, sizes = picture._repr_mimebundle_()
        assert sizes["image/png"] == {"width": picture.width, "height": picture.height}
        assert set(data) == {"image/png", "text/plain"}


# Machado, Oliveira and Fernandes (2009), severity 1.0: how three forms of colour blindness see.
BLINDNESS = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(colour: str, matrix: list[list[float]]) -> NDArray[np.float64]:
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratio = np.array(to_xyz) @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (theme.REFERENCE, theme.CURRENT),
        (theme.CURRENT, theme.ACCENT),
        (theme.GOOD, theme.REFERENCE),
    ],
)
def test_colours_side_by_side_can_be_told_apart(one: str, other: str, blindness: str) -> None:
    matrix = BLINDNESS[blindness]
    assert np.linalg.norm(lab(one, matrix) - lab(other, matrix)) > 20


def test_many_classes_are_drawn_up_to_a_limit() -> None:
    many = MulticlassTask(tuple(f"class {k:03d}" for k in range(40)))
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(40), 1000)
    y = rng.integers(0, 40, 1000).astype(float)
    panels = outcomes.draw_calibration(task_curves.measure_honesty(many, y, p))
    cells = outcomes.draw_outcomes(task_curves.relate_outcomes(many, y, p), metrics())
    assert max(panels.height, cells.height) < 900


@pytest.mark.parametrize("task", [CLASSES, VALUES], ids=["classes", "values"])
def test_a_model_that_says_one_thing_only_is_drawn_all_the_same(task: Task) -> None:
    y, p = predicted(task)
    same = np.zeros_like(p) if task is VALUES else np.tile([1.0, 0.0, 0.0], (len(y), 1))
    usual = task_curves.find_usual_outcome(task, y)
    pictures = [
        outcomes.draw_calibration(task_curves.measure_honesty(task, y, same)),
        outcomes.draw_outcomes(task_curves.relate_outcomes(task, y, same), metrics()),
        outcomes.draw_actions(task_curves.weigh_actions(task, y, same, usual), len(y)),
    ]
    assert all(pixels(picture).std() > 0 for picture in pictures)


def test_a_loss_that_was_never_estimated_has_no_line() -> None:
    blank = record().assign(guess=np.nan)
    with_blank = {**SERIES, "guess": ("guess", "", "")}
    assert (
        decision.draw_over_time(blank, with_blank, "loss").png
        == decision.draw_over_time(blank, SERIES, "loss").png
    )


def test_no_pie_and_no_global_figures(root: Path) -> None:
    sources = sorted((root / "src" / "driftbook" / "site" / "figures").glob("*.py"))
    assert {source.stem for source in sources} >= {"model", "decision", "backtest", "theme"}
    for source in sources:
        text = source.read_text(encoding="utf-8")
        assert ".pie(" not in text
        assert "pyplot" not in text.replace("# Not pyplot", "")


def test_a_bad_cell_among_numbers_is_not_drawn() -> None:
    rows = pd.DataFrame({"x": np.arange(50.0)})
    odd = rows.astype(object)
    odd.loc[7, "x"] = "error"
    feature = Feature("x", "numeric")
    whole = model.draw_distributions(rows, [feature], rows.drop(index=7))
    assert model.draw_distributions(rows, [feature], odd).width == whole.width


def test_no_word_of_a_figure_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: dict[str, float] = {}
    over: list[float] = []
    save = theme.Figure.savefig

    def measure(figure: theme.Figure, *args: object, **options: object) -> None:
        save(figure, *args, **options)  # type: ignore[arg-type]
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        over.append(max(-box.x0, -box.y0, box.x1 - width, box.y1 - height))

    monkeypatch.setattr(theme.Figure, "savefig", measure)
    for name, draw in FIGURES.items():
        over.clear()
        draw()
        cut[name] = max(over)
    assert {name: most for name, most in cut.items() if most > 0.03} == {}
