"""Settings: defaults, what a source implies, and messages for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from driftbook.errors import UsageError
from driftbook.settings import SCENARIOS, Settings

ROOT = Path(__file__).parents[1]


def test_tracked_runbook_is_the_default() -> None:
    assert Settings.load(ROOT / "runbook.yaml").model_dump() == Settings().model_dump()


def test_tracked_runbook_spells_out_every_setting() -> None:
    written = yaml.safe_load((ROOT / "runbook.yaml").read_text(encoding="utf-8"))
    expected = Settings().model_dump(mode="json")
    assert {key: set(value) for key, value in written.items()} == {
        key: set(value) for key, value in expected.items()
    }


def test_round_trip_through_yaml(tmp_path: Path) -> None:
    settings = Settings.parse({"data": {"source": "synthetic:concept", "features": ["f0", "f1"]}})
    (tmp_path / "s.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    assert Settings.load(tmp_path / "s.yaml").model_dump() == settings.model_dump()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_synthetic_source_implies_target_and_row_windows(scenario: str) -> None:
    chosen = Settings.parse({"data": {"source": f"synthetic:{scenario}"}}).data
    assert (chosen.target, chosen.timestamp, chosen.window) == ("target", None, 1200)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dta": {}}, ["unknown key 'dta'", "'data'"]),
        ({"data": {"sorce": "x"}}, ["unknown key 'sorce'", "'source'"]),
        ({"policy": {"retrain_costs": 1}}, ["unknown key 'retrain_costs'", "'retrain_cost'"]),
        ({"data": {"source": "synthetic:gone"}}, ["gone", "covariate"]),
        ({"data": {"window": 0}}, ["window is 0 rows"]),
        ({"data": {"source": "a.csv", "window": "month"}}, ["timestamp is null"]),
        ({"model": {"estimator": "forest"}}, ["model.estimator", "'forest'"]),
        ({"policy": {"confidence": 1.5}}, ["policy.confidence", "1.5"]),
        ({"policy": {"retrain_cost": float("nan")}}, ["policy.retrain_cost"]),
    ],
)
def test_wrong_settings_name_the_place_and_the_value(
    values: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.parse(values, origin="my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ") and "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("text", ["- a\n- b\n", "data: [unclosed\n", "data:\n\t- x: 1\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"s\.yaml"):
        Settings.load(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Settings.load(tmp_path / "none.yaml")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().data.source = "other"  # type: ignore[misc]


def test_model_name_falls_back_to_the_target() -> None:
    assert Settings().model_name == "delayed"
    assert (
        Settings.parse({"data": {"source": "a.csv", "target": "is late?"}}).model_name == "is-late"
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/churn.csv.gz", "churn"),
        ("/srv/Flow 7/", "Flow-7"),
        ("data/churn/part-*.parquet", "churn"),
        ("s3://bucket/churn/year=2024/*.parquet?region=x", "churn"),
        ("rows.v2.PARQUET", "rows.v2"),
        ("*.csv", "target"),
        ("synthetic:none", "target"),
        ("predictions", "target"),
    ],
)
def test_a_target_that_says_nothing_gives_no_name(source: str, name: str) -> None:
    data = {"source": source, "target": "target"}
    found = Settings.parse({"data": data})
    assert found.model_name == name
    assert Settings.parse({"data": data | {"target": "y"}}).model_name == "y"
    assert Settings.parse({"data": data, "model": {"name": "mine"}}).model_name == "mine"


def test_a_model_keeps_the_name_that_it_is_served_by() -> None:
    file = Settings.parse({"data": {"source": "churn.csv"}})
    assert file.served_as("target").model_name == "target"
    assert file.served_as("another").model_name == "churn"
    log = Settings.parse({"data": {"source": "predictions", "target": "target"}})
    assert log.served_as("churn").model_name == "churn"
    assert log.served_as("churn").model_dump() == log.model_dump()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_does_not_take_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match=rf"model\.seed.*{seed}"):
        Settings.parse({"model": {"seed": seed}})


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_every_other_seed_is_taken(seed: int) -> None:
    assert Settings.parse({"model": {"seed": seed}}).model.seed == seed
