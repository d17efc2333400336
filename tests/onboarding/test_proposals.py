"""The proposals for any table are declarations that can be read, and keep what a proposal promises."""

from __future__ import annotations

import ast
import keyword
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import SourceTableError
from include.models import read_spec
from include.onboarding import periods
from include.onboarding.names import identifier, identifiers
from include.onboarding.records import (
    ColumnProfile,
    Density,
    PartCounts,
    Proposal,
    ProposalOptions,
    TableProfile,
)
from include.onboarding.rendering import render_query, render_spec
from include.onboarding.roles import choose_time, key_candidates, propose_feature, propose_roles, widened
from include.spec import Categorical, Numeric
from include.spec.features_query import query_parameters
from include.training import split_by_time

ROWS = 400
NAMES = st.text(min_size=1, max_size=50).filter(
    lambda name: "\0" not in name and not re.search("[\ud800-\udfff]", name)
)
LABELS = st.text(min_size=0, max_size=30).filter(
    lambda name: "\0" not in name and not re.search("[\ud800-\udfff]", name)
)
FLOATS = st.floats(-1e30, 1e30, allow_nan=False)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@st.composite
def columns(draw: st.DrawFn, name: str) -> ColumnProfile:
    """A column that PostgreSQL might have."""
    kind = draw(
        st.sampled_from(
            ("integer", "numeric", "double precision", "text", "character", "enum", "boolean", "uuid", "jsonb", "date",
             "timestamp without time zone", "integer[]", "interval")
        )
    )  # fmt: skip
    nulls = draw(st.sampled_from((0, 3, ROWS)))
    plain = {"name": name, "quoted": quoted(name), "type": kind, "nulls": nulls}
    if nulls == ROWS:
        return ColumnProfile(**plain)
    if kind in ("text", "character", "enum", "boolean", "uuid"):
        labels = ("false", "true") if kind == "boolean" else draw(st.lists(LABELS, min_size=1, max_size=8, unique=True))
        values = {label: draw(st.integers(1, ROWS)) for label in labels}
        return ColumnProfile(**plain, distinct=len(values), values=values, longest=max(map(len, values)))
    if kind in ("integer", "numeric", "double precision"):
        low, high = sorted(draw(st.tuples(FLOATS, FLOATS)))
        whole = kind == "integer"
        low, high = (float(round(low)), float(round(high))) if whole else (low, high)
        distinct = 1 if low == high else draw(st.integers(2, ROWS))
        return ColumnProfile(
            **plain, distinct=distinct, distinct_single=distinct, low=low, high=high, whole=whole,
            infinite=draw(st.sampled_from((0, 2))) if not whole else 0,
        )  # fmt: skip
    return ColumnProfile(**plain, distinct=ROWS - nulls)


@st.composite
def profiles(draw: st.DrawFn) -> TableProfile:
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    found = [draw(columns(name)) for name in names if name not in ("the key", "at", "amount")]
    found += [
        ColumnProfile("the key", '"the key"', "bigint", distinct=ROWS, low=1, high=ROWS, whole=True),
        ColumnProfile("at", "at", "timestamp with time zone", distinct=ROWS),
        ColumnProfile("amount", "amount", "double precision", distinct=90, distinct_single=90, low=0.5, high=9),
    ]
    return TableProfile("source", "t", "source.t", ROWS, tuple(found))


@st.composite
def densities(draw: st.DrawFn) -> Density:
    hours = draw(st.lists(st.integers(0, 20_000), min_size=2, max_size=60, unique=True))
    start = datetime(2020, 1, 1, tzinfo=UTC)
    times = sorted(start + timedelta(hours=hour, seconds=draw(st.integers(0, 3599))) for hour in hours)
    rows = {time.replace(minute=0, second=0): draw(st.integers(1, 500)) for time in times}
    border = max(times[int(len(times) * 0.8)], times[1])
    return Density(times[0], times[-1], border, rows)


@given(profiles(), densities(), st.sampled_from(("boosting", "forest", "linear")), st.booleans())
def test_any_proposal_is_a_declaration_that_can_be_read(tmp_path_factory, table, density, estimator, named) -> None:
    options = ProposalOptions(time="at", key=("the key",), target="amount" if named else None)
    time = choose_time(table, options)
    try:
        roles = propose_roles(table, options, time, key_candidates(table, options, "at")[0])
    except SourceTableError:
        return  # such as no feature, if the only number is the target
    schedule = periods.choose_schedule(density, lambda _unit: True)
    assert schedule is not None
    by_class = dict.fromkeys(roles.classes, 100)
    proposal = Proposal(
        model="shop", source="source.t", command="sluice new shop", roles=roles, window=periods.choose_window(density),
        schedule=schedule, counts=PartCounts(ROWS, 300, 100, by_class, by_class),
        freshness=periods.choose_freshness(density), retrain=None, estimator=estimator,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "shop"
    folder.mkdir()
    spec_text, query = render_spec(proposal), render_query(roles, "sluice new shop")
    ast.parse(spec_text)
    (folder / "spec.py").write_text(spec_text, encoding="utf-8")
    (folder / "features.sql").write_text(query, encoding="utf-8")
    spec = read_spec(folder / "spec.py")
    assert spec.features == tuple(feature for feature, _ in roles.features)
    assert spec.target.classes == roles.classes
    assert query_parameters(query) == (":period_start", ":period_end")
    for feature in spec.features:
        if isinstance(feature, Numeric):
            column = next(each for each in table.columns if each.quoted in dict_of_sql(roles)[feature.name])
            assert feature.minimum <= column.low
            assert feature.maximum >= column.high


def dict_of_sql(roles) -> dict[str, str]:
    return {feature.name: column.sql for feature, column in roles.features}


@given(densities())
def test_a_window_holds_the_oldest_and_the_newest_row_and_both_parts_have_rows(density: Density) -> None:
    window = periods.choose_window(density)
    border = window.end - window.holdout
    assert border - window.train <= density.oldest < border
    assert density.newest < window.end <= density.newest + timedelta(days=1)
    assert border <= density.border


def test_a_window_is_what_a_training_reads(tmp_path: Path) -> None:
    from tests.builders import declare_model

    spec = declare_model(tmp_path)
    end = datetime(2026, 3, 1, tzinfo=UTC)
    assert split_by_time(spec, end).holdout.end == end


@given(densities())
def test_a_schedule_has_no_partition_with_more_rows_than_it_says(density: Density) -> None:
    schedule = periods.choose_schedule(density, lambda _unit: True)
    assert schedule is not None
    assert 0 <= schedule.low <= schedule.high <= sum(density.rows_by_hour.values())
    assert periods.max_partition_rows(schedule.high) >= schedule.high
    assert periods.choose_schedule(density, lambda _unit: False) is None


@given(st.integers(1, 10**9))
def test_a_contract_holds_the_rows_that_it_was_made_of(rows: int) -> None:
    low, high = periods.row_range(rows)
    assert low <= rows <= high


@given(FLOATS, FLOATS, st.booleans())
def test_a_range_holds_its_values_and_stays_on_their_side_of_zero(one: float, other: float, whole: bool) -> None:
    low, high = sorted((float(round(one)), float(round(other))) if whole else (one, other))
    minimum, maximum = widened(low, high, whole=whole)
    assert minimum <= low <= high <= maximum
    assert minimum < maximum
    assert minimum >= 0 or low < 0
    assert maximum <= 0 or high > 0 or low == 0


def test_ranges_are_round_numbers() -> None:
    assert widened(4.3, 7.9, whole=False) == (0, 12)
    assert widened(18, 90, whole=True) == (0, 170)
    assert widened(-3, 40, whole=True) == (-50, 90)


@given(st.lists(NAMES, max_size=20, unique=True))
def test_identifiers_are_valid_and_differ(names: list[str]) -> None:
    found = list(identifiers(names).values())
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) for name in found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Sepal.Length", "sepal_length"),
        ("medHouseVal", "med_house_val"),
        ("Größe (cm)", "groe_cm"),
        ("2024", "column_2024"),
        ("", "column"),
        ("日本", "column"),
        ("ctid", "column_ctid"),
        ("class", "class"),
        ("a" * 60, "a" * 41),
    ],
)
def test_a_name_stays_as_near_as_it_can(name: str, expected: str) -> None:
    assert identifier(name) == expected


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (ColumnProfile("a", "a", "text", nulls=ROWS), "null in every row"),
        (ColumnProfile("a", "a", "boolean", distinct=1, values={"true": ROWS}), "the same value in every row"),
        (ColumnProfile("a", "a", "uuid", distinct=ROWS), "an identifier"),
        (ColumnProfile("a", "a", "text", distinct=80), "80 different texts"),
        (ColumnProfile("a", "a", "date", distinct=80), "a time"),
        (ColumnProfile("a", "a", "jsonb"), "type jsonb is no feature"),
        (ColumnProfile("a", "a", "real", distinct=2, infinite=ROWS), "no finite number"),
        (ColumnProfile("a", "a", "bigint", distinct=90, distinct_single=5, low=1e15, high=1e15 + 90, whole=True),
         "single precision tells 5 apart"),
    ],
)  # fmt: skip
def test_a_column_that_is_no_feature_has_a_reason(column: ColumnProfile, reason: str) -> None:
    found = propose_feature(column, ROWS, "a")
    assert isinstance(found, str)
    assert reason in found


def test_no_keyword_of_python_is_in_the_way() -> None:
    assert all(identifier(word.lower()) == word.lower() for word in keyword.kwlist)


def test_many_rows_allow_many_categories_which_are_learned() -> None:
    column = ColumnProfile("a", "a", "text", distinct=80, longest=9)
    found = propose_feature(column, 40_000, "a")
    assert not isinstance(found, str)
    assert found[0] == Categorical(name="a")
