"""Nasty tables: each ends in an action with its reason, or in one sentence about what is wrong."""

from __future__ import annotations

import functools
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import forked
import nasty_tables
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from nasty_tables import STAMP, TARGET, Plan
from trials import LONG, CountTrials

import finished
from driftbook import paths
from driftbook.decision.policy import assess
from driftbook.errors import UsageError
from driftbook.model import training
from driftbook.model.training import Model
from driftbook.runbook.command import report_errors_in_one_line
from driftbook.settings import Settings

SEEDS = nasty_tables.SEEDS if LONG else nasty_tables.SEEDS[::4]
BUILT = 300 if LONG else 12


def parse_settings(source: str = "rows.csv", **data: object) -> Settings:
    """Return settings for the tables of this room."""
    chosen = {"source": source, "target": TARGET, "timestamp": STAMP, "window": 60, "reference": 1}
    return Settings.parse({"data": {**chosen, **data}, "model": {"name": "nasty"}})


@functools.cache
def sound_model() -> Model:
    """Return a model that knows nothing of nasty tables."""
    return training.train(nasty_tables.make_sound(300, seed=1), parse_settings())


def check_assessment(model: Model, frame: pd.DataFrame) -> None:
    """Check that there is an action with a reason, which JSON can hold; the table is as it was."""
    found = assess(model, frame, parse_settings())
    assert found.action in paths.ACTIONS, found.action
    assert found.reason.strip()
    json.dumps(found.to_dict(), allow_nan=False)


def judge_as_current(frame: pd.DataFrame) -> None:
    """Judge a nasty window by a sound model."""
    check_assessment(sound_model(), frame)


def judge_from_first(frame: pd.DataFrame) -> None:
    """Train on the first part of a nasty table and judge the rest."""
    half = len(frame) // 2
    model = training.train(frame.iloc[:half], parse_settings())
    check_assessment(model, frame.iloc[half:])


def find_refusal(judge: Callable[[pd.DataFrame], None], frame: pd.DataFrame) -> str | None:
    """Return what a table was refused for; None where it was judged."""
    try:
        judge(frame)
    except UsageError as error:
        return str(error)
    return None


def judge_all(judge: Callable[[pd.DataFrame], None], count_trials: CountTrials, kind: str) -> None:
    """Judge the seeds and what hypothesis builds; the plan of each that failed repeats it."""
    with count_trials(f"nasty tables: {kind}") as trials, warnings.catch_warnings():
        # Numbers beyond all bounds overflow somewhere; what counts is what is said of them.
        warnings.simplefilter("ignore")

        def attempt(plan: Plan) -> None:
            frame = plan.build()
            with trials.trial(repr(plan)):
                told = find_refusal(judge, frame)
                assert told is None or (told.strip() and "\n" not in told), told

        for plan in SEEDS:
            attempt(plan)
        limits = settings(
            max_examples=BUILT, database=None, suppress_health_check=list(HealthCheck)
        )
        limits(given(nasty_tables.plans)(attempt))()


def test_a_nasty_window_is_judged_by_a_sound_model(count_trials: CountTrials) -> None:
    judge_all(judge_as_current, count_trials, "assess")


def test_a_model_of_a_nasty_table_is_trained_or_refused(count_trials: CountTrials) -> None:
    judge_all(judge_from_first, count_trials, "train and assess")


def write_table(frame: pd.DataFrame, folder: Path) -> str | None:
    """Return the name of the file that holds the table: CSV where Parquet cannot."""
    try:
        frame.to_parquet(folder / "d.parquet")
    except Exception:  # noqa: BLE001  (pyarrow has many ways to refuse a column)
        try:
            frame.to_csv(folder / "d.csv", index=False)
        except UnicodeEncodeError:
            return None  # no file of UTF-8 holds it
        return "d.csv"
    return "d.parquet"


def publish_judged(artifacts: str, source: str) -> None:
    """Do all of a run but its notebooks, and end as the command line does."""
    warnings.simplefilter("ignore")
    with report_errors_in_one_line():
        finished.publish(Path(artifacts), parse_settings(source))
    sys.stdout.write((Path(artifacts) / paths.RECOMMENDATION).read_text())


def check_file(plan: Plan, place: Path) -> None:
    """Check that a run on a file of this table ends in a decision or in one sentence, exit 2."""
    place.mkdir()
    name = write_table(plan.build(), place)
    if name is None:
        return
    given = (str(place / "artifacts"), str(place / name))
    done = forked.finish(publish_judged, *given, root=place / "artifacts")
    if done.code == 0:
        found = json.loads(done.out)
        assert found["action"] in paths.ACTIONS
        assert found["reason"].strip()
    else:
        assert done.code == 2, done.err[-600:]
        (line,) = done.err.strip().splitlines()
        assert line.startswith("driftbook: "), line


def test_a_nasty_file_ends_in_a_decision_or_a_sentence(
    count_trials: CountTrials, tmp_path: Path
) -> None:
    with count_trials("nasty tables: files") as trials:

        def attempt(plan: Plan) -> None:
            with trials.trial(repr(plan)):
                check_file(plan, tmp_path / str(trials.tried))

        for plan in SEEDS if LONG else SEEDS[1::2]:
            attempt(plan)
        limits = settings(max_examples=BUILT // 2, database=None, deadline=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            limits(given(nasty_tables.plans)(attempt))()


def list_cases() -> list[Path]:
    """Return the folders of tables that somebody's runs once failed on, where they are at hand."""
    shared = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
    return sorted(path.parent for path in shared.glob("*/s.yaml"))


def run_case(folder: str, artifacts: str) -> None:
    """Do all of a run but its notebooks on a case, by its own settings."""
    warnings.simplefilter("ignore")
    with report_errors_in_one_line():
        finished.publish(Path(artifacts), Settings.load(Path(folder) / "s.yaml"))


@pytest.mark.skipif(not list_cases(), reason="no cases in ../shared")
def test_the_cases_end_in_a_decision_or_a_sentence(
    count_trials: CountTrials, tmp_path: Path, long_form: bool
) -> None:
    with count_trials("nasty tables: cases") as trials:
        for case in list_cases() if long_form else list_cases()[::5]:
            root = tmp_path / case.name / "artifacts"
            root.parent.mkdir()
            with trials.trial(case.name):
                done = forked.finish(run_case, str(case), str(root), root=root)
                assert done.code in (0, 2), done.err[-600:]
                assert done.code == 0 or len(done.err.strip().splitlines()) == 1, done.err
