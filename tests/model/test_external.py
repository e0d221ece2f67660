"""A model that is served elsewhere: its predictions judged, a stand-in beside it for the price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from driftbook import Settings, assess, train
from driftbook.data.synthetic import make_scenario
from driftbook.errors import UsageError
from driftbook.model.external import match_outputs
from driftbook.model.tasks import BINARY, MulticlassTask
from driftbook.model.training import Model, find_version
from driftbook.runbook.cli import main
from driftbook.store import registry, registry_models

TASKS = ("binary", "multiclass", "regression")


def logged(scenario: str, task: str, rows: int = 9600) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a log of scores by a model that learnt from the first rows, and their columns."""
    frame = make_scenario(scenario, rows=rows, task=task)
    given = Settings.parse({"data": {"source": f"synthetic:none?task={task}"}})
    served = train(frame.iloc[:1600], given)
    p = served.predict(frame).reshape(rows, -1)
    names = tuple(f"score_{name}" if name else "score" for name in served.task.outputs)
    return frame.assign(**{name: p[:, k] for k, name in enumerate(names)}), names


def settings(prediction: tuple[str, ...], **data: Any) -> Settings:
    """Return settings that watch the model with these columns."""
    given = {"source": "log.parquet", "window": 800, "prediction": prediction, **data}
    return Settings.parse({"data": given, "model": {"estimator": "external"}})


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("scenario", "action"), [("none", "hold"), ("concept", "retrain"), ("covariate", "monitor")]
)
def test_the_log_of_scores_leads_to_the_same_actions(task: str, scenario: str, action: str) -> None:
    frame, names = logged(scenario, task)
    wanted = settings(names)
    model = train(frame.iloc[1600:4800], wanted)
    current = frame.iloc[6400:7200]
    np.testing.assert_array_equal(
        model.predict(current).reshape(800, -1), current[list(model.prediction)].to_numpy()
    )
    found = assess(model, current, wanted, history=frame.iloc[4800:6400])
    assert found.action == action, found.reason
    assert found.to_dict()["served_elsewhere"] is True
    row = found.performance.set_index(["metric", "basis"]).loc[(model.task.loss, "realised")]
    losses = model.task.row_losses(model.outcomes(current), model.predict(current))
    assert row["value"] == pytest.approx(losses.mean())
    known = frame.iloc[1600:4800]
    before = model.task.row_losses(model.outcomes(known), model.predict(known))
    assert row["baseline"] == pytest.approx(before.mean())


def test_a_challenger_is_priced_against_its_own_kind() -> None:
    frame, names = logged("concept", "binary")
    # Far better than any linear model can be before the change, and as bad after it.
    right = np.where(frame["target"] == 1, 0.95, 0.05)
    frame["score"] = np.where(np.arange(len(frame)) < 6400, right, frame["score"])
    wanted = settings(names)
    model = train(frame.iloc[1600:4800], wanted)
    found = assess(model, frame.iloc[6400:7200], wanted, history=frame.iloc[4800:6400])
    assert found.action == "retrain" and found.challenger is not None
    assert model.stand_in is not None
    stand_in = model.stand_in.predict(frame.iloc[6400:7200])
    loss = float(np.square(stand_in - frame["target"].iloc[6400:7200]).mean())
    assert found.challenger.champion_loss == pytest.approx(loss)
    assert found.challenger.model.prediction == ()


@pytest.mark.parametrize("task", TASKS)
def test_a_watched_model_comes_back_from_the_registry(task: str, tmp_path: Path) -> None:
    frame, names = logged("none", task, 4800)
    wanted = settings(names)
    model = train(frame.iloc[1600:4000], wanted)
    assert find_version(frame.iloc[1600:4000], wanted) == model.version
    registry_models.save_model(tmp_path, model)
    loaded = registry_models.load_model(tmp_path, model.version)
    assert (loaded.version, loaded.prediction, loaded.task) == (
        model.version, model.prediction, model.task,
    )  # fmt: skip
    first, second = (assess(m, frame.iloc[4000:], wanted).to_dict() for m in (model, loaded))
    assert first == second


def test_rows_without_a_prediction_are_left_out_and_said() -> None:
    frame, names = logged("none", "binary")
    wanted = settings(names)
    gaps = frame.iloc[1600:4800].copy()
    gaps.loc[gaps.index[::10], "score"] = np.nan
    model = train(gaps, wanted)
    assert len(model.reference) == 2880
    current = frame.iloc[4800:5600].copy()
    current.loc[current.index[:40], "score"] = np.nan
    found = assess(model, current, wanted)
    assert found.n_current == 760
    assert found.quality[["feature", "severity"]].to_numpy().tolist() == [["score", "note"]]
    current.loc[current.index[:200], "score"] = np.nan
    assert assess(model, current, wanted).action == "investigate"
    assert assess(model, current.drop(columns="score"), wanted).action == "investigate"


def test_a_log_of_nothing_but_scores_is_enough() -> None:
    frame, names = logged("concept", "binary")
    bare, wanted = frame[["score", "target"]], settings(names)
    model = train(bare.iloc[1600:4800], wanted)
    assert model.feature_names == ["score"]
    found = assess(model, bare.iloc[6400:7200], wanted, history=bare.iloc[4800:6400])
    assert found.action in ("retrain", "monitor") and not found.performance.empty


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": 1.7}, "holds 1.7 in row 0, which is no chance between 0 and 1"),
        ({"score": "high"}, "no chance"),
        ({"score": np.inf}, "no chance"),
    ],
)
def test_predictions_that_are_none_are_refused(change: dict[str, Any], words: str) -> None:
    frame, names = logged("none", "binary", 4800)
    with pytest.raises(UsageError, match=words):
        train(frame.iloc[1600:].assign(**change), settings(names))


def test_columns_are_matched_to_classes_by_their_names() -> None:
    task = MulticlassTask(("late", "on time", "very late"))
    named = ("p very late", "p late", "p on time")
    assert match_outputs(task, named) == ("p late", "p on time", "p very late")
    with pytest.raises(UsageError, match="must end with the name of its class"):
        match_outputs(task, ("a", "b", "c"))
    with pytest.raises(UsageError, match="needs one column a class"):
        match_outputs(task, ("p late",))
    with pytest.raises(UsageError, match="needs one column"):
        match_outputs(BINARY, ("a", "b"))


def test_chances_must_add_up() -> None:
    frame, names = logged("none", "multiclass", 4800)
    wrong = frame.iloc[1600:].assign(score_low=1.0, score_high=0.25, score_middle=0.25)
    with pytest.raises(UsageError, match=r"add up to 1\.5"):
        train(wrong, settings(names))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": {"estimator": "external"}}, "needs data.prediction"),
        ({"data": {"prediction": "score"}}, "set it to 'external'"),
    ],
)
def test_the_two_settings_belong_together(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Settings.parse(given)


def invoke(folder: Path, *words: str) -> Result:
    """Run a command on the settings and artifacts of ``folder``."""
    given = ["--settings", str(folder / "s.yaml"), "--artifacts", str(folder / "a")]
    return CliRunner().invoke(main, [*words, *given], prog_name="driftbook")


@pytest.mark.slow
def test_a_new_version_elsewhere_starts_a_new_reference(tmp_path: Path) -> None:
    frame, _ = logged("concept", "binary")
    frame = frame.assign(v=np.where(np.arange(len(frame)) < 6400, "a", "b"))
    text = (
        "data:\n  source: log.parquet\n  prediction: score\n  model_version: v\n  window: 800\n"
        "  reference: 2\nmodel:\n  estimator: external\n"
    )
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    frame.iloc[:6400].to_parquet(tmp_path / "log.parquet")
    first = invoke(tmp_path, "run", "--no-render")
    assert first.exit_code == 0, first.output
    before = registry.read_index(tmp_path / "a" / "models").aliases["champion"]
    frame.to_parquet(tmp_path / "log.parquet")
    second = invoke(tmp_path, "run", "--no-render")
    assert second.exit_code == 0, second.output
    after = registry.read_index(tmp_path / "a" / "models").aliases["champion"]
    assert before != after and after is not None
    kept: Model = registry_models.load_model(tmp_path / "a" / "models", after)
    assert len(kept.reference) == 1600
    pd.testing.assert_series_equal(
        kept.reference["score"], frame["score"].iloc[6400:8000].reset_index(drop=True)
    )
    assert invoke(tmp_path, "verify").exit_code == 0
    for words, status in ((("promote",), 1), (("serve",), 2)):
        refused = invoke(tmp_path, *words)
        assert refused.exit_code == status and "served elsewhere" in refused.output
