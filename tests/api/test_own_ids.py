"""The caller's own ids: in and out, once a request, and feedback to the newest prediction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from test_prediction_log import engine, entry, label, reading, store, url

from driftbook.api.app import create_app
from driftbook.api.log import rows
from driftbook.api.requests import name_id_key
from driftbook.data import prediction_log
from driftbook.settings import Settings
from serving_models import TestClient, champion_in, enthrone, numeric_model, settings_of

__all__ = ["engine", "url"]
EIGHT = [0.2, 0.1, 0.4, 0.0, 0.7, 0.3, 0.1, 0.9]
RECORD = {f"f{k}": value for k, value in enumerate(EIGHT)}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    artifacts = tmp_path_factory.mktemp("own")
    enthrone(artifacts, numeric_model())
    with TestClient(create_app(settings_of(), artifacts)) as client:
        yield client


def predict(client: TestClient, body: Any, status: int = 200) -> Any:
    response = client.post("/predict", json=body)
    assert response.status_code == status, response.text
    return response.json()


def tell(client: TestClient, body: Any, status: int = 200) -> Any:
    response = client.post("/feedback", json=body)
    assert response.status_code == status, response.text
    return response.json()


@pytest.mark.parametrize("own", ["order-17", "Kōbe 7/ä", "x" * 128, 17, -(2**63)])
def test_an_id_comes_back_as_it_went_in(client: TestClient, own: str | int) -> None:
    assert predict(client, {"features": EIGHT, "id": own})["id"] == own
    many = [RECORD, {"id": own, **RECORD}, {**RECORD, "id": None}]
    answers = predict(client, {"records": many})["predictions"]
    assert [one.get("id") for one in answers] == [None, own, None]
    assert len({one["prediction_id"] for one in answers}) == 3
    assert len({one["probability"] for one in answers}) == 1


@pytest.mark.parametrize("own", ["", "x" * 129, "a\nb", "a\x00b", "\x7f", True, 1.5, [], 2**63])
def test_a_wrong_id_is_refused_by_field(client: TestClient, own: Any) -> None:
    one = predict(client, {"features": EIGHT, "id": own}, 422)["errors"]
    many = predict(client, {"records": [RECORD, {**RECORD, "id": own}]}, 422)["errors"]
    assert [error["field"] for error in (*one, *many)] == ["id", "records[1].id"]
    assert "text of 1 to 128 characters" in one[0]["expected"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id": "a"}, "body"),
        ({"records": [RECORD], "id": "a"}, "id"),
        ({"features": EIGHT, "records": [RECORD], "id": "a"}, "body"),
    ],
)
def test_an_id_belongs_to_a_row(client: TestClient, body: Any, field: str) -> None:
    assert predict(client, body, 422)["errors"][0]["field"] == field


@pytest.mark.parametrize(("first", "again"), [("a", "a"), (7, "7")])
def test_one_id_twice_in_a_request_is_refused_and_named(
    client: TestClient, first: Any, again: Any
) -> None:
    many = [{**RECORD, "id": one} for one in ("z", first, None, again)]
    problem = predict(client, {"records": many}, 422)
    assert problem["detail"] == (
        "records[3].id: expected an id that no other row of the request has, found "
        f"{again!r} as in records[1]"
    )


def test_feedback_takes_either_id(client: TestClient) -> None:
    answer = predict(client, {"features": EIGHT, "id": "either"})
    assert tell(client, {"id": "either", "label": 1}) == {"stored": 1, "known": 0}
    known = {"stored": 0, "known": 1}
    assert tell(client, {"prediction_id": answer["prediction_id"], "label": 1}) == known
    assert tell(client, {"id": answer["prediction_id"], "label": 1}) == known
    assert tell(client, {"prediction_id": "either", "label": 1}) == known
    batch = [{"id": "either", "label": 1}, {"prediction_id": answer["prediction_id"], "label": 1}]
    assert tell(client, {"feedback": batch}) == known
    assert tell(client, {"id": "either", "label": 0}, 409)["errors"][0]["field"] == "id either"
    batch[0]["label"] = 0
    assert tell(client, {"feedback": batch}, 409)["title"]


def test_a_number_is_known_by_its_digits(client: TestClient) -> None:
    predict(client, {"features": EIGHT, "id": 4711})
    assert tell(client, {"id": 4711, "label": 1})["stored"] == 1
    assert tell(client, {"id": "4711", "label": 1})["known"] == 1


def test_a_row_sent_again_is_another_prediction_and_feedback_goes_to_the_newest(
    client: TestClient,
) -> None:
    first, newest = (predict(client, {"features": EIGHT, "id": "retry"}) for _ in range(2))
    assert first["prediction_id"] < newest["prediction_id"]
    assert tell(client, {"id": "retry", "label": 1})["stored"] == 1
    assert tell(client, {"id": "retry", "label": 1}) == {"stored": 0, "known": 1}
    assert tell(client, {"prediction_id": newest["prediction_id"], "label": 0}, 409)
    assert tell(client, {"prediction_id": first["prediction_id"], "label": 0})["stored"] == 1


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"id": "nobody", "label": 1}, 404, "id nobody"),
        ({"id": "", "label": 1}, 422, "id"),
        ({"id": None, "label": 1}, 422, "id"),
        ({"label": 1}, 422, "prediction_id"),
        ({"id": "a", "prediction_id": "b", "label": 1}, 422, "id"),
        ({"feedback": [{"id": "a"}]}, 422, "feedback[0].label"),
        ({"feedback": [{"id": "a", "label": 2}]}, 422, "feedback[0].label"),
    ],
)
def test_wrong_feedback_by_own_id_is_refused_by_field(
    client: TestClient, body: Any, status: int, field: str
) -> None:
    assert tell(client, body, status)["errors"][0]["field"] == field


def test_a_feature_named_id_keeps_its_key(tmp_path: Path) -> None:
    assert name_id_key(["id", "record_id"]) == "row_id"
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": rng.normal(size=300), "x": rng.normal(size=300)})
    frame["target"] = (frame["x"] + rng.normal(size=300) > 0).astype(int)
    settings = Settings.parse({"data": {"source": "rows.csv", "features": ["id", "x"]}})
    champion_in(tmp_path, frame, settings)
    with TestClient(create_app(settings, tmp_path)) as client:
        rows_ = [{"id": 0.5, "x": 1.0, "record_id": "mine"}, {"id": 0.5, "x": 1.0}]
        found = predict(client, {"records": rows_})["predictions"]
        assert [one.get("id") for one in found] == ["mine", None]
        problem = predict(client, {"records": [{"id": "mine", "x": 1.0}]}, 422)
        assert problem["errors"][0]["field"] == "records[0].id"


def test_ids_are_in_the_log_and_come_back_with_its_rows(url: str, engine: sa.Engine) -> None:
    store(engine, *(entry(n)._replace(record_id=own) for n, own in enumerate(["a", None, "a"])))
    store(engine, entry(9, name="another")._replace(record_id="a"))
    assert label(engine, ("a", 1), own=True).stored == 1
    settings = reading(url, record_id="mine")
    frame = prediction_log.read_logged_predictions(settings, Path())
    assert frame["mine"].tolist() == ["a", None, "a"]
    assert frame["y"].tolist()[2] == 1.0 and frame["y"].isna().tolist() == [True, True, False]
    assert "mine" not in prediction_log.read_logged_predictions(reading(url), Path())


def test_many_own_ids_at_once(engine: sa.Engine) -> None:
    store(engine, *(entry(n)._replace(record_id=f"own-{n}") for n in range(1200)))
    every = [(f"own-{n}", n % 2) for n in range(1200)]
    assert label(engine, *every, own=True).stored == 1200
    assert label(engine, *every, own=True).known == 1200


def test_a_log_of_an_earlier_release_is_read_and_taken_over(url: str) -> None:
    """It has no such column: reading leaves it alone, opening it for writing adds one."""
    engine = prediction_log.connect_prediction_log(url)
    rows.create_log_tables(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX predictions_by_record_id")
        connection.exec_driver_sql("ALTER TABLE predictions DROP COLUMN record_id")
        values = "('p1', 1, 'small', 'm1', '{\"x\": 1}', 0.5)"
        connection.exec_driver_sql(
            "INSERT INTO predictions (id, time_us, model_name, model_version, features, "
            f"probability) VALUES {values}"
        )
    frame = prediction_log.read_logged_predictions(reading(url, record_id="mine"), Path())
    assert frame["x"].tolist() == [1] and frame["mine"].isna().all()
    assert not prediction_log.has_record_ids(engine)
    for _ in range(2):  # a second replica finds it done
        rows.create_log_tables(engine)
    assert prediction_log.has_record_ids(engine)
    indexes = sa.inspect(engine).get_indexes("predictions")
    assert [one["name"] for one in indexes] == ["predictions_by_record_id"]
    store(engine, entry(2)._replace(record_id="new"))
    assert label(engine, ("p1", 1), ("new", 0)).stored == 2
    engine.dispose()
