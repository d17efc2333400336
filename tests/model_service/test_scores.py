"""Looking up what batch scoring published."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from include.warehouse import open_engine
from model_service import create_app

DAY_1, DAY_2 = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 2, tzinfo=UTC)
IRIS = """
CREATE TABLE scores.iris (
    partition_start timestamptz NOT NULL, entity_key bigint NOT NULL, event_time timestamptz NOT NULL,
    p_setosa double precision, p_versicolor double precision, p_virginica double precision,
    predicted text, model_version integer NOT NULL, scored_at timestamptz NOT NULL,
    PRIMARY KEY (entity_key, partition_start)
);
CREATE VIEW scores.iris_latest AS
    SELECT DISTINCT ON (entity_key) * FROM scores.iris ORDER BY entity_key, partition_start DESC;
CREATE TABLE scores.trip_latest (
    partition_start timestamptz NOT NULL, entity_key text PRIMARY KEY, event_time timestamptz NOT NULL,
    value double precision, model_version integer NOT NULL, scored_at timestamptz NOT NULL
);
"""


@pytest.fixture(scope="module")
def client(settled: Any) -> Any:
    iris = "INSERT INTO scores.iris VALUES (:day, :key, :day, :a, :b, :c, :label, 1, :day)"
    third = float.fromhex("0x1.5555560000000p-2")
    with settled.world.engine.begin() as connection:
        connection.execute(text(IRIS))
        row = {"day": DAY_1, "key": 7, "a": 1.0, "b": 0.0, "c": 0.0, "label": "setosa"}
        connection.execute(text(iris), row)
        connection.execute(text(iris), row | {"day": DAY_2, "a": 0.25, "b": 0.25, "c": third, "label": "virginica"})
        connection.execute(
            text("INSERT INTO scores.trip_latest VALUES (:day, 'N1/2 ''x', :day, 1.5, 1, :day)"), {"day": DAY_1}
        )
        connection.execute(
            text("INSERT INTO sluice.score_partition VALUES ('iris', :start, :end, 1, 'd', 1, 'r', 'run', 1, :end)"),
            {"start": DAY_2, "end": datetime(2013, 1, 3, tzinfo=UTC)},
        )
    return settled.client


def test_the_newest_score_of_a_key_is_told_with_its_partition_and_version(client: Any) -> None:
    response = client.get("/v1/models/iris/scores/7")
    answer = response.get_json()
    assert response.status_code == 200
    assert answer["key"] == 7
    assert datetime.fromisoformat(answer["partition_start"]) == DAY_2
    assert answer["version"] == 1
    assert answer["prediction"] == {
        "label": "virginica",
        "class_index": 2,
        "probabilities": {"setosa": 0.25, "versicolor": 0.25, "virginica": float.fromhex("0x1.555556p-2")},
    }


def test_a_key_of_text_may_hold_slashes_and_quotes_and_a_score_may_be_a_value(client: Any) -> None:
    answer = client.get("/v1/models/trip/scores/N1%2F2 'x").get_json()
    assert answer["key"] == "N1/2 'x"
    assert answer["prediction"] == {"value": 1.5}


def test_a_key_never_scored_is_404_with_the_newest_partition(client: Any) -> None:
    response = client.get("/v1/models/iris/scores/8")
    problem = response.get_json()
    assert response.status_code == 404
    assert problem["type"] == "urn:sluice:problem:never-scored"
    assert datetime.fromisoformat(problem["newest_partition"]) == DAY_2


def test_a_model_that_never_scored_is_404_and_says_how_to_score(client: Any) -> None:
    response = client.get("/v1/models/sugar/scores/8")
    assert response.status_code == 404
    assert "sluice score sugar" in response.get_json()["detail"]


@pytest.mark.parametrize("key", ["x", "1.5", "9223372036854775808", "%00", "1;DROP TABLE scores.iris", "٣", "--1"])
def test_a_key_of_another_type_is_422(client: Any, key: str) -> None:
    response = client.get(f"/v1/models/iris/scores/{key}")
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["path"] == "key"


@pytest.mark.parametrize("key", ["' OR 1=1 --", '"; DROP TABLE scores.iris; --', "%27"])
def test_a_key_is_bound_and_never_becomes_sql(client: Any, key: str) -> None:
    assert client.get(f"/v1/models/trip/scores/{key}").status_code == 404
    assert client.get("/v1/models/iris/scores/7").status_code == 200


def test_a_nul_in_a_key_of_text_is_422(client: Any) -> None:
    assert client.get("/v1/models/trip/scores/a%00b").status_code == 422


def test_the_score_of_a_model_that_is_not_declared_is_404(client: Any) -> None:
    assert client.get("/v1/models/pg_class/scores/1").status_code == 404


def test_with_the_database_down_look_ups_are_503_and_predictions_go_on(settled: Any) -> None:
    gone = open_engine("postgresql://nobody:x@127.0.0.1:1/gone")
    client = create_app(settled.world.settings, settled.slots, gone).test_client()
    response = client.get("/v1/models/iris/scores/7")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert client.post("/predict", json={"features": [5.1, 3.5, 1.4, 0.2]}).status_code == 200
