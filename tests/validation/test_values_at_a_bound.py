"""A number is in its range or beyond it, whatever way it comes: every type of column, JSON, every type of tensor.

Both are compared in single precision, in which the model sees them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from include.errors import RowsRejectedError
from include.inference import ModelSignature, RowEncoder
from include.inference.batch import encode_batch
from include.inference.columns import ColumnBlock, ColumnEncoder
from include.inference.feature_types import MAX_FLOAT32, feature_type
from include.records import Period, ValidationReport
from include.spec import EntityKey, ModelSpec, Numeric
from include.validation import validate
from include.warehouse.feature_source import PostgresFeatureSource
from tests.builders import SPEC, declare_model

DAY = Period.of_day(date(2026, 2, 20))
INTEGERS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
BOUNDS = (
    st.floats(-1e3, 1e3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63 - 1).map(float)
    | st.sampled_from([0.0, 0.1, 0.7, 1.0, 2.0**24, 2.0**63, MAX_FLOAT32, 3.4028235e38, 1e39, 1e300, 1e-45, 1e-50])
)


@st.composite
def features(draw: st.DrawFn) -> Numeric:
    low, high = sorted((draw(BOUNDS), draw(BOUNDS)))
    if low == high:
        high = math.nextafter(low, math.inf) if low < 1e308 else low
        low = low if high > low else math.nextafter(low, -math.inf)
    policy = draw(st.sampled_from(["error", "error", "ignore"]))
    return Numeric(name="f", unit="1", minimum=low, maximum=high, nullable=draw(st.booleans()), out_of_range=policy)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Numeric, str, str]:
    """Return a feature, a type of PostgreSQL and a value of it as text, mostly close to a bound."""
    feature = draw(features())
    bound = draw(st.sampled_from([feature.minimum, feature.maximum, MAX_FLOAT32, -MAX_FLOAT32]))
    with np.errstate(over="ignore"):
        single = float(np.clip(np.float32(bound), -MAX_FLOAT32, MAX_FLOAT32))
    type_ = draw(st.sampled_from([*INTEGERS, "real", "double precision", "numeric"]))
    if type_ in INTEGERS:
        near = int(max(min(draw(st.sampled_from([bound, single])), 2.0**62), -(2.0**62))) + draw(st.integers(-700, 700))
        value = max(min(draw(st.just(near) | st.integers(-10, 10)), INTEGERS[type_] - 1), -INTEGERS[type_])
        return feature, type_, str(value)
    steps = draw(st.integers(-2, 2))
    if type_ == "real":
        number = np.float32(single)
        for _ in range(abs(steps)):
            number = np.nextafter(number, np.float32(math.copysign(MAX_FLOAT32, steps)))
        return feature, type_, str(float(np.clip(number, -MAX_FLOAT32, MAX_FLOAT32)))
    start = draw(
        st.sampled_from([bound, single, (single + float(np.nextafter(np.float32(single), np.float32(0)))) / 2])
    )
    for _ in range(abs(steps)):
        start = math.nextafter(start, math.copysign(1e308, steps))
    if type_ == "double precision" or not 1e-300 < abs(start) < 1e300:
        return feature, type_, repr(start) if type_ == "double precision" else str(draw(st.integers(-5, 5)))
    exact = Decimal(start) * (1 + Decimal(draw(st.integers(-3, 3))).scaleb(-20))
    return feature, type_, format(exact, "f")


@pytest.fixture(scope="module")
def connection(server_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server_url, autocommit=True) as connection:
        yield connection


def signature_of(feature: Numeric) -> ModelSignature:
    return ModelSignature(
        model="m", task="regression", entity_key=EntityKey(column="k"), event_time="t", features=(feature,), classes=()
    )


def encoded(encode: Callable[[], np.ndarray]) -> bytes | None:
    """Return the bits that the model sees, or None when the value is refused."""
    try:
        return encode().tobytes()
    except RowsRejectedError:
        return None


@settings(max_examples=500)
@given(cases())
def test_contract_json_tensors_and_arrow_take_the_same_values(
    connection: psycopg.Connection, case: tuple[Numeric, str, str]
) -> None:
    feature, type_, text = case
    checks = {check.expectation: check for check in feature_type(feature).column_checks(type_)}
    failing = checks["expect_column_values_to_be_between"].failing
    row = connection.execute(
        f'SELECT NOT ({failing}), "f"::double precision, "f"::text FROM (SELECT \'{text}\'::{type_} AS f) AS q'
    ).fetchone()
    assert row is not None
    taken, double, shown = row

    signature = signature_of(feature)
    rows, columns = RowEncoder(signature), ColumnEncoder(signature)
    ways = {
        "JSON, the double": encoded(lambda: rows.encode_one([double])),
        "JSON, as it is shown": encoded(lambda: rows.encode_one([int(shown) if type_ in INTEGERS else float(shown)])),
        "FP64": encoded(lambda: columns.encode({"f": np.array([double])}, 1)),
    }
    with np.errstate(over="ignore"):
        single = np.array([double], dtype=np.float32)
    block = ColumnBlock(np.array([0]), single.reshape(1, 1))
    ways["FP32"] = encoded(lambda: columns.encode({"f": single}, 1))
    ways["FP32, together"] = encoded(lambda: columns.encode({"f": single}, 1, blocks=[block]))
    if type_ in INTEGERS:
        ways["INT64"] = encoded(lambda: columns.encode({"f": np.array([int(shown)])}, 1))
    arrow = encode_batch(pa.table({"f": [double]}), signature).tobytes() if taken else None
    assert ways == dict.fromkeys(ways, arrow)


def test_the_bounds_of_a_real_column_are_within_the_range() -> None:
    of_type = feature_type(Numeric(name="f", unit="1", minimum=0.1, maximum=0.7))
    assert of_type.expected == "a number from 0.1 to 0.7 (1)"
    encode = of_type.value_encoder()
    for inside in (0.1, 0.7, float(np.float32(0.1)), float(np.float32(0.7))):
        assert np.float32(encode(inside)) == np.float32(inside)


@pytest.mark.parametrize("type_", ["real", "double precision", "numeric"])
@pytest.mark.parametrize("policy", ["error", "ignore"])
def test_a_batch_takes_the_values_at_the_bounds_and_names_those_beyond(
    tmp_path: Path, engine: Engine, database_url: str, type_: str, policy: str
) -> None:
    beyond = ["0.10001", "-1e-30", "1e39", "NaN", *(["1e400", "Infinity"] if type_ == "numeric" else [])]
    values = ["0.1", "0", "-0.0", "0.100000001", "1e-46", *beyond]
    values = [each for each in values if type_ != "real" or each not in ("1e39", "1e-46")]
    with engine.begin() as connection:
        listed = ", ".join(
            f"('k{at}', timestamptz '2026-02-20 12:00Z', '{each}'::{type_})" for at, each in enumerate(values)
        )
        connection.exec_driver_sql(f"CREATE TABLE source.bounds AS SELECT * FROM (VALUES {listed}) AS v (k, t, f)")
    first, last = SPEC.index("    features=("), SPEC.index("    target=")
    feature = f'Numeric(name="f", unit="kg", minimum=0, maximum=0.1, out_of_range="{policy}")'
    declared = SPEC[:first] + f"    features=({feature},),\n" + SPEC[last:]
    declared = declared.replace('"parcel_id"', '"k"').replace('"sent_at"', '"t"')
    query = "SELECT k, t, f FROM source.bounds WHERE t >= :period_start AND t < :period_end"
    spec = declare_model(tmp_path, spec=declared, query=query)
    report = validate_day(spec, database_url, tmp_path)
    (failure,) = report.failures
    accepted = {"error": ["0.10001", "-1e-30"], "ignore": []}[policy]
    refused = accepted + [each for each in beyond if each in values and each not in ("0.10001", "-1e-30")]
    assert failure.expectation == "expect_column_values_to_be_between"
    assert sorted(failure.offending_keys) == sorted(f"k{values.index(each)}" for each in refused)
    assert failure.failing_count == len(refused)
    assert failure.sentence.startswith(f"column 'f': expected {feature_type(spec.features[0]).expected}; found ")


def validate_day(spec: ModelSpec, database_url: str, folder: Path) -> ValidationReport:
    return validate(
        spec,
        DAY,
        purpose="score",
        run_id="run",
        database_url=database_url,
        materialize=PostgresFeatureSource(database_url).materialize,
        docs_dir=folder / "docs",
    )
