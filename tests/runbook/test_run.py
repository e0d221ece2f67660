"""A run: what its notebooks share, and what it learns without training again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbook import paths
from driftbook.data import synthetic, windows
from driftbook.decision import policy
from driftbook.errors import UsageError
from driftbook.model import training
from driftbook.runbook.run import Run, open_run
from driftbook.settings import Settings
from driftbook.store import files, registry, registry_models, transaction

SETTINGS = Settings.parse({"data": {"source": "synthetic:none", "window": 1200, "reference": 2}})


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifacts folder with a first champion, as a run would publish it."""
    folder = tmp_path_factory.mktemp("artifacts")
    champion = staged(folder).champion
    registry_models.save_model(folder / paths.MODELS, champion)
    registry.set_first_champion(folder / paths.MODELS, champion.version)
    return folder


def staged(artifacts: Path, window: str | None = None) -> Run:
    run_id = transaction.stage_run(SETTINGS, artifacts, window).run_id
    return open_run("unused.yaml", artifacts, None, run_id)


@pytest.fixture
def count_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[None]]:
    """Return a function that lets calls of a module's function through and counts them."""

    def count(module: Any, name: str) -> list[None]:
        calls: list[None] = []
        function = getattr(module, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            calls.append(None)
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, counted)
        return calls

    return count


def test_all_notebooks_of_a_run_share_one_window_and_one_judgement(
    artifacts: Path, count_calls: Callable[[Any, str], list[None]]
) -> None:
    loaded = count_calls(windows, "load_dataset")
    parsed = count_calls(Settings, "load")
    judged = count_calls(policy, "assess")
    run = staged(artifacts, "rows-0004")
    run.write_data_note()
    note = files.read_json_object(run.folder / paths.RUN_DATA)
    for _ in ("01", "02", "03"):
        again = open_run("unused.yaml", artifacts, note["window"], run.run_id)
        assert again.assessment.window == note["window"] == again.split.window.name == "rows-0004"
        assert again.assessment.drift is run.assessment.drift
    assert (len(loaded), len(parsed), len(judged)) == (1, 1, 1)


def test_each_run_in_progress_and_each_scratch_run_looks_for_itself(artifacts: Path) -> None:
    first, second = staged(artifacts), staged(artifacts)
    assert first.run_id != second.run_id
    assert first.dataset is not second.dataset
    (artifacts / "own.yaml").write_text(SETTINGS.to_yaml(), encoding="utf-8")
    one, two = (open_run(artifacts / "own.yaml", artifacts, None, None) for _ in range(2))
    assert one.dataset is not two.dataset


def test_the_version_of_the_first_model_is_known_without_training(
    artifacts: Path, count_calls: Callable[[Any, str], list[None]]
) -> None:
    trained = count_calls(training, "train")
    run = staged(artifacts)
    assert run.model.version == run.champion.version == run.own_version
    assert trained == []


def test_the_version_that_is_foretold_is_the_one_that_training_gives() -> None:
    dataset = windows.load_dataset(SETTINGS)
    rows = dataset.frame.iloc[:2400].copy()
    rows.loc[[3, 99], dataset.target] = None  # rows without a label are left out
    other = SETTINGS.model_copy(
        update={"model": SETTINGS.model.model_copy(update={"holdout": 0.4})}
    )
    for chosen in (SETTINGS, other):
        assert training.find_version(rows, chosen) == training.train(rows, chosen).version
    assert training.find_version(rows, SETTINGS) != training.find_version(rows, other)
    with pytest.raises(UsageError, match="is no column of the reference"):
        training.find_version(rows.drop(columns=dataset.target), SETTINGS)


def test_after_a_promotion_the_first_notebook_is_about_the_new_champion(
    tmp_path: Path, count_calls: Callable[[Any, str], list[None]]
) -> None:
    first = staged(tmp_path).champion
    other = training.train(first.reference, SETTINGS, recipe="other")
    for model in (first, other):
        registry_models.save_model(tmp_path / paths.MODELS, model)
    registry.set_first_champion(tmp_path / paths.MODELS, other.version)
    trained = count_calls(training, "train")
    assert staged(tmp_path).model.version == other.version
    assert trained == []


def test_new_settings_make_a_new_model_beside_the_champion(artifacts: Path) -> None:
    changed = SETTINGS.model_copy(update={"model": SETTINGS.model.model_copy(update={"seed": 7})})
    run_id = transaction.stage_run(changed, artifacts).run_id
    run = open_run("unused.yaml", artifacts, None, run_id)
    assert run.model.version != run.champion.version
    assert run.registry_of(run.model.version) == run.models
    assert run.registry_of(run.champion.version) == artifacts / paths.MODELS


@pytest.mark.parametrize(
    ("window", "message"),
    [("1999-01", "unknown window '1999-01'"), ("rows-0001", "unknown window 'rows-0001'")],
)
def test_a_window_that_cannot_be_judged_is_refused(
    artifacts: Path, window: str, message: str
) -> None:
    run = staged(artifacts, window)
    with pytest.raises(UsageError, match=message):
        run.write_data_note()
    assert not (run.folder / paths.RUN_DATA).exists()


def test_what_the_manifest_says_about_the_data(artifacts: Path) -> None:
    run = staged(artifacts)
    run.write_data_note()
    note = files.read_json_object(run.folder / paths.RUN_DATA)
    assert note == {
        "source": "synthetic:none",
        "sha256": run.dataset.fingerprint,
        "rows": 14_400,
        "dropped": {},
        "notes": [],
        "features": [f"f{k}" for k in range(8)],
        "windows": [f"rows-{k:04d}" for k in range(1, 13)],
        "window": "rows-0012",
        "window_rows": 1200,
    }


def test_a_window_that_shares_a_moment_with_the_reference_is_judged_as_it_was_accepted(
    tmp_path: Path,
) -> None:
    table = synthetic.make_scenario("none", rows=2400, seed=3)
    # Seven rows an hour: row 900, where the reference ends, is amid rows of one timestamp.
    hours = pd.to_timedelta(np.arange(len(table)) // 7, unit="h")
    table.assign(at=pd.Timestamp("2024-01-01") + hours).to_csv(tmp_path / "rows.csv", index=False)
    data = {"source": str(tmp_path / "rows.csv"), "target": "target", "timestamp": "at"}
    chosen = Settings.parse({"data": {**data, "window": 300, "reference": 3}})

    def stage(window: str) -> Run:
        run_id = transaction.stage_run(chosen, tmp_path / "artifacts", window).run_id
        return open_run("unused.yaml", tmp_path / "artifacts", None, run_id)

    run = stage("rows-0004")
    run.write_data_note()
    assert files.read_json_object(run.folder / paths.RUN_DATA)["window"] == "rows-0004"
    assert run.split.window.name == "rows-0004"
    assert (run.reference_end, run.split.window.start) == (900, 900)
