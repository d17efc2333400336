"""Looking up what batch scoring published."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError, OperationalError

from model_service import create_app
from model_service.db.connections import open_scores

DAY_1, DAY_2 = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 2, tzinfo=UTC)
IRIS = """
CREATE TABLE scores.iris (
    partition_start timestamptz NOT NULL, entity_key bigint NOT NULL, event_time timestamptz NOT NULL,
    p_setosa double precision, p_versicolor double precision, p_virginica double precision,
    predicted_label text, model_version integer NOT NULL, scored_at timestamptz NOT NULL,
    PRIMARY KEY (entity_key, partition_start)
);
CREATE VIEW scores.iris_latest AS
    SELECT DISTINCT ON (entity_key) * FROM scores.iris ORDER BY entity_key, partition_start DESC;
CREATE TABLE scores.trip (
    partition_start timestamptz NOT NULL, entity_key text PRIMARY KEY, event_time timestamptz NOT NULL,
    value double precision, model_version integer NOT NULL, scored_at timestamptz NOT NULL
);
"""


@pytest.fixture(scope="module")
def client(settled: Any) -> Any:
    iris = "INSERT INTO scores.iris VALUES (:day, :key, :day, :a, :b, :c, :label, 1, :day)"
    third = float.fromhex("0x1.5555560000000p-2")
    with settled.harness.engine.begin() as connection:
        connection.execute(text(IRIS))
        row = {"day": DAY_1, "key": 7, "a": 1.0, "b": 0.0, "c": 0.0, "label": "setosa"}
        connection.execute(text(iris), row)
        connection.execute(text(iris), row | {"day": DAY_2, "a": 0.25, "b": 0.25, "c": third, "label": "virginica"})
        connection.execute(
            text("INSERT INTO scores.trip VALUES (:day, 'N1/2 ''x', :day, 1.5, 1, :day)"), {"day": DAY_1}
        )
        connection.execute(
            text(
                "INSERT INTO sluice.partition_publication"
                " VALUES ('iris', :start, :end, 1, 'd', 'q', 1, 'r', 'run', 1, :end, 'champion', 1, 2)"
            ),
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


ANY_TEXT = (
    "a\nb",
    "\r",
    "tab\there",
    "\x01\x7f",
    "/first",
    "//",
    "a//b",
    "last/",
    "a/../b",
    ".",
    "?x=1&y",
    "100%",
    "#",
    "ä→𝄞",
)


@pytest.mark.parametrize("key", ANY_TEXT)
def test_any_text_is_a_key_that_can_be_asked_for(client: Any, settled: Any, key: str) -> None:
    with settled.harness.engine.begin() as connection:
        row = {"key": key, "day": DAY_1}
        connection.execute(text("INSERT INTO scores.trip VALUES (:day, :key, :day, 2.5, 1, :day)"), row)
    try:
        answer = client.get(f"/v1/models/trip/scores/{quote(key, safe='')}")
        assert (answer.status_code, answer.get_json().get("key")) == (200, key)
        assert client.get(f"/v1/models/trip/scores/{quote(key, safe='')}?history=true").get_json()["key"] == key
        (found,) = client.post("/v1/models/trip/scores:lookup", json={"keys": [key]}).get_json()["scores"]
        assert found["key"] == key
    finally:
        with settled.harness.engine.begin() as connection:
            connection.execute(text("DELETE FROM scores.trip WHERE entity_key = :key"), {"key": key})


def test_a_key_that_was_never_scored_is_not_mistaken_for_a_similar_one(client: Any) -> None:
    for key in ("/N1%2F2 'x", "N1%2F%2F2 'x", "N1%2F2 'x%0A", "N1%2F2 'x%2F"):
        assert client.get(f"/v1/models/trip/scores/{key}").status_code == 404, key


def test_a_key_that_is_no_utf_8_is_refused_and_not_replaced(client: Any) -> None:
    path = {"PATH_INFO": "/v1/models/trip/scores/a\xffb"}  # as a server passes %FF; the client here would replace it
    response = client.get("/", environ_overrides=path)
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["path"] == "key"


def test_a_key_with_a_newline_can_be_asked_for_from_the_service_as_it_runs(
    harness: Any, run_service: Callable[..., Any]
) -> None:
    harness.declare("trip")
    harness.champion("trip")
    with harness.engine.begin() as connection:
        connection.execute(text(IRIS))
        for key in ("a\nb", "/x", "ä→𝄞"):
            row = {"key": key, "day": DAY_1}
            connection.execute(text("INSERT INTO scores.trip VALUES (:day, :key, :day, 2.5, 1, :day)"), row)
    service = run_service()
    service.wait_until(lambda: service.ask("GET", "/ready")[0] == 200)
    for path, key in (("a%0Ab", "a\nb"), ("%2Fx", "/x"), (quote("ä→𝄞"), "ä→𝄞")):
        status, answer = service.ask("GET", f"/v1/models/trip/scores/{path}")
        assert (status, answer["key"]) == (200, key)
    assert service.ask("GET", "/v1/models/trip/scores/a%FFb")[0] == 422


def test_a_key_never_scored_is_404_with_the_newest_partition(client: Any) -> None:
    response = client.get("/v1/models/iris/scores/8")
    problem = response.get_json()
    assert response.status_code == 404
    assert problem["type"] == "urn:sluice:problem:score-not-found"
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
    gone = settled.harness.settings.model_copy(update={"database_url": "postgresql://nobody:x@127.0.0.1:1/gone"})
    client = create_app(gone, settled.registry).test_client()
    for _ in range(5):
        for response in (
            client.get("/v1/models/iris/scores/7"),
            client.post("/v1/models/iris/scores:lookup", json={"keys": [7]}),
        ):
            assert response.status_code == 503
            assert response.headers["Retry-After"]
            assert response.get_json()["type"] == "urn:sluice:problem:scores-unavailable"
    assert client.post("/predict", json={"features": [5.1, 3.5, 1.4, 0.2]}).status_code == 200


# -- one partition ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "partition",
    ["2013-01-01", "2013-01-01T00:00:00Z", "2013-01-01T01:00:00%2B01:00", "2013-01-01T01:00:00+01:00"],
)
def test_the_score_of_one_partition_is_asked_by_its_start(client: Any, partition: str) -> None:
    answer = client.get(f"/v1/models/iris/scores/7?partition={partition}").get_json()
    assert datetime.fromisoformat(answer["partition_start"]) == DAY_1
    assert answer["prediction"]["label"] == "setosa"


def test_a_key_that_a_partition_does_not_hold_is_404_with_the_newest_partition(client: Any) -> None:
    response = client.get("/v1/models/iris/scores/7?partition=2012-12-31")
    assert response.status_code == 404
    assert datetime.fromisoformat(response.get_json()["newest_partition"]) == DAY_2


@pytest.mark.parametrize(
    "query",
    [
        "partition=yesterday", "partition=2013-02-30", "partition=2013-01-01T00:00:00", "partition=",
        "partition=0001-01-01T00:00:00%2B23:59", "partitions=2013-01-01", "history=yes", "cursor=AAAAAAAAAAA",
        "history=true&limit=0", "history=true&limit=1001", "history=true&limit=x", "history=true&cursor=x",
        "history=true&cursor=//////////8", "history=true&cursor=f_________8", "history=true&partition=2013-01-01",
    ],
)  # fmt: skip
def test_a_parameter_that_is_not_understood_is_refused_and_never_ignored(client: Any, query: str) -> None:
    response = client.get(f"/v1/models/iris/scores/7?{query}")
    assert response.status_code == 400
    assert response.get_json()["type"] == "urn:sluice:problem:invalid-parameter"


# -- history ---------------------------------------------------------------------------------------


def test_the_history_of_a_key_comes_in_pages_the_newest_first(client: Any) -> None:
    whole = client.get("/v1/models/iris/scores/7?history=true").get_json()
    starts = [datetime.fromisoformat(each["partition_start"]) for each in whole["scores"]]
    assert (whole["key"], starts, whole["next_cursor"]) == (7, [DAY_2, DAY_1], None)
    first = client.get("/v1/models/iris/scores/7?history=true&limit=1").get_json()
    second = client.get(f"/v1/models/iris/scores/7?history=true&limit=1&cursor={first['next_cursor']}").get_json()
    assert first["scores"] + second["scores"] == whole["scores"]
    assert second["next_cursor"] is None


def test_a_page_that_was_asked_for_before_a_publication_goes_on_where_it_was(client: Any, settled: Any) -> None:
    first = client.get("/v1/models/iris/scores/7?history=true&limit=1").get_json()
    with settled.harness.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO scores.iris VALUES (:day, 7, :day, 1, 0, 0, 'setosa', 1, :day)"),
            {"day": datetime(2013, 1, 3, tzinfo=UTC)},
        )
    try:
        page = client.get(f"/v1/models/iris/scores/7?history=true&cursor={first['next_cursor']}").get_json()
    finally:
        with settled.harness.engine.begin() as connection:
            connection.execute(text("DELETE FROM scores.iris WHERE partition_start > '2013-01-02 12:00+00'"))
    assert [datetime.fromisoformat(each["partition_start"]) for each in page["scores"]] == [DAY_1]


def test_the_history_of_a_key_never_scored_is_404(client: Any) -> None:
    assert client.get("/v1/models/iris/scores/8?history=true").status_code == 404


# -- many keys -------------------------------------------------------------------------------------


def test_many_keys_are_answered_in_the_order_asked_with_null_for_those_never_scored(client: Any) -> None:
    answer = client.post("/v1/models/iris/scores:lookup", json={"keys": [8, 7, -1, 7]}).get_json()
    assert answer["model"] == "iris"
    never, seven, negative, again = answer["scores"]
    assert never is None
    assert negative is None
    assert seven == again
    assert (seven["key"], seven["prediction"]["label"]) == (7, "virginica")
    assert datetime.fromisoformat(seven["partition_start"]) == DAY_2


def test_what_is_looked_up_together_is_what_is_looked_up_alone(client: Any) -> None:
    alone = client.get("/v1/models/trip/scores/N1%2F2 'x").get_json()
    (together,) = client.post("/v1/models/trip/scores:lookup", json={"keys": ["N1/2 'x"]}).get_json()["scores"]
    assert together == {name: alone[name] for name in together}


def test_a_thousand_keys_are_one_statement_and_one_more_is_413(client: Any, settled: Any) -> None:
    response = client.post("/v1/models/iris/scores:lookup", json={"keys": list(range(1000))})
    assert response.status_code == 200
    assert [place for place, score in enumerate(response.get_json()["scores"]) if score] == [7]
    response = client.post("/v1/models/iris/scores:lookup", json={"keys": list(range(1001))})
    assert response.status_code == 413
    assert "SLUICE_SERVICE_MAX_KEYS" in response.get_json()["detail"]


def test_no_keys_get_no_scores_and_a_model_that_never_scored_has_none(client: Any) -> None:
    assert client.post("/v1/models/iris/scores:lookup", json={"keys": []}).get_json()["scores"] == []
    assert client.post("/v1/models/sugar/scores:lookup", json={"keys": [1]}).get_json()["scores"] == [None]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"keys": [7, "7", 1.5, true, null, 9223372036854775808]}', "$.keys[1]"),
        (b'{"keys": 7}', "$"),
        (b"[7]", "$"),
        (b'{"keys": [7], "more": 1}', "$"),
        (b'{"keys": [7], "keys": [8]}', "$.keys"),
        (b'{"keys": [NaN]}', "$.keys[0]"),
    ],
)
def test_keys_of_another_type_or_shape_are_422_and_name_the_place(client: Any, body: bytes, path: str) -> None:
    response = client.post("/v1/models/iris/scores:lookup", data=body)
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["path"] == path


@pytest.mark.parametrize("key", ["a\\u0000b", "\\ud800"])
def test_text_that_the_database_cannot_hold_is_422(client: Any, key: str) -> None:
    response = client.post("/v1/models/trip/scores:lookup", data=f'{{"keys": ["{key}"]}}')
    assert response.status_code == 422


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_the_keys_may_be_packed(client: Any, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    body, headers = pack(json.dumps({"keys": [7]}).encode()), {"Content-Encoding": encoding}
    answer = client.post("/v1/models/iris/scores:lookup", data=body, headers=headers)
    assert answer.status_code == 200
    assert answer.get_json()["scores"][0]["key"] == 7


def test_keys_that_are_packed_wrong_too_large_or_unknown_are_refused_as_predictions_are(
    client: Any, settled: Any
) -> None:
    most = settled.harness.settings.service_max_bytes
    for body, encoding, status in (
        (gzip.compress(b'{"keys": [7]}')[:-3], "gzip", 400),
        (gzip.compress(b" " * (most + 1) + b'{"keys": [7]}'), "gzip", 413),
        (b'{"keys": [7]}', "br", 415),
    ):
        for path in ("/v1/models/iris/scores:lookup", "/predict"):
            assert client.post(path, data=body, headers={"Content-Encoding": encoding}).status_code == status


def test_a_look_up_that_is_no_json_is_400(client: Any) -> None:
    assert client.post("/v1/models/iris/scores:lookup", data=b"{").status_code == 400


# -- what a look-up may do -------------------------------------------------------------------------


def test_the_service_can_only_read_and_a_slow_statement_is_stopped(settled: Any) -> None:
    engine = open_scores(settled.harness.settings.database_url, 0.2)
    with engine.connect() as connection:
        with pytest.raises(InternalError, match="read-only transaction"):
            connection.execute(text("CREATE TABLE public.mine ()"))
        with pytest.raises(OperationalError, match="statement timeout"):
            connection.execute(text("SELECT pg_sleep(60)"))
    engine.dispose()


def test_look_ups_are_made_where_the_service_reads_and_jobs_where_it_may_write(settled: Any) -> None:
    elsewhere = {"service_database_url": "postgresql://nobody:x@127.0.0.1:1/gone"}
    client = create_app(settled.harness.settings.model_copy(update=elsewhere), settled.registry).test_client()
    assert client.get("/v1/models/iris/scores/7").status_code == 503
    assert client.post("/v1/models/iris/predict_async", json={"features": [5.1, 3.5, 1.4, 0.2]}).status_code == 202
