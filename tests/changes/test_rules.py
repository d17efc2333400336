"""The parts of a plan on their own: the code of an estimator, what clients find, and a rule for every field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.changes.classification import rule_of
from include.changes.comparison import ESTIMATOR, QUERY, value_text
from include.changes.estimator_code import estimator_code
from include.inference.feature_types import InvalidValueError, feature_type
from include.spec import Categorical, Feature, Numeric
from tests.builders import declare_model

CODE = '''
"""A model."""
from sklearn.ensemble import RandomForestClassifier
TREES = {"n": 100}
OWNER = "tests"


def build(columns):
    """Build it."""
    return RandomForestClassifier(TREES["n"])


spec = ModelSpec(name="parcels", owner=OWNER, estimator=build, seed=3)
'''


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('"""Build it."""', '"""In other words."""', True),
        ("    return Random", "    # a forest\n    return Random", True),
        ('OWNER = "tests"', 'OWNER = "operations"', True),
        ("seed=3", "seed=4", True),
        ('OWNER = "tests"', 'OWNER = "tests"\n\ndef unused():\n    return OWNER', True),
        ('{"n": 100}', '{"n": 50}', False),
        ("OWNER =", 'TREES["n"] = 7\nOWNER =', False),
        ("OWNER =", "TREES.update(n=7)\nOWNER =", False),
        ("OWNER =", "if True:\n    TREES = {'n': 7}\nOWNER =", False),
        ("ensemble import RandomForestClassifier", "tree import T as RandomForestClassifier", False),
        ("estimator=build", "estimator=lambda columns: build(columns).set_params(max_depth=2)", False),
        ('TREES["n"])', 'TREES["n"], max_depth=3)', False),
    ],
)
def test_the_code_of_an_estimator_is_what_it_uses(before: str, after: str, same: bool) -> None:
    assert CODE.count(before) == 1
    assert (estimator_code(CODE) == estimator_code(CODE.replace(before, after))) is same


def test_without_one_declared_estimator_the_whole_file_is_compared() -> None:
    text = CODE.replace("estimator=build", "**arguments")
    assert estimator_code(text) != estimator_code(text.replace('OWNER = "tests"', 'OWNER = "operations"'))


def fields_of(values: Mapping[str, Any], nested: tuple[str, ...]) -> Iterator[str]:
    for name, value in values.items():
        if name in nested:
            yield from (f"{name}.{part}" for part in value)
        else:
            yield name


def test_every_field_of_a_declaration_has_a_rule(tmp_path: Path) -> None:
    values = declare_model(tmp_path).to_plain()
    nested = tuple(name for name, value in values.items() if isinstance(value, dict))
    for field in (*fields_of(values, nested), ESTIMATOR, QUERY, "features.weight.unit"):
        assert callable(rule_of(field)), field


numbers = st.builds(
    lambda low, width, nullable, beyond: Numeric(
        name="x", unit="", minimum=low, maximum=low + width, nullable=nullable, out_of_range=beyond
    ),
    st.sampled_from([-1e6, -1.0, 0.0, 0.1, 1.0]),
    st.sampled_from([0.1, 1.0, 2.0, 1e6]),
    st.booleans(),
    st.sampled_from(["error", "ignore"]),
)
texts = st.builds(
    lambda categories, nullable, unknown: Categorical(
        name="x", categories=tuple(sorted(categories)), nullable=nullable, handle_unknown=unknown
    ),
    st.sets(st.sampled_from("abcd"), min_size=1),
    st.booleans(),
    st.sampled_from(["error", "ignore"]),
)
pairs = st.one_of(st.tuples(numbers, numbers), st.tuples(texts, texts))
VALUES = (None, "a", "b", "c", "d", "e", -1e7, -1e6, -1.0, -0.5, 0.0, 0.1, 0.15, 0.2, 1.0, 1.1, 2.0, 2.1, 3.0, 1e6, 1e9)


def accepts(feature: Feature, value: Any) -> bool:
    try:
        feature_type(feature).value_encoder()(value)
    except InvalidValueError:
        return False
    return True


@given(pairs)
def test_a_value_that_is_refused_now_is_announced(pair: tuple[Feature, Feature]) -> None:
    former, declared = pair
    refused = [value for value in VALUES if accepts(former, value) and not accepts(declared, value)]
    assert bool(feature_type(declared).refused_values(former)) is bool(refused) or not refused


@given(pairs)
def test_what_is_announced_to_be_refused_is_refused(pair: tuple[Feature, Feature]) -> None:
    former, declared = pair
    if feature_type(declared).refused_values(former) is not None and former.kind == "categorical":  # VALUES has all
        assert any(accepts(former, value) and not accepts(declared, value) for value in VALUES)


def test_values_are_written_as_people_write_them() -> None:
    assert [value_text(each) for each in ("P40D", "PT1H30M", "P1DT2H", "Late", 100.0, True, None, [])] == [
        "40 days", "1:30:00", "1 day 2:00:00", "'Late'", "100", "True", None, "none",
    ]  # fmt: skip
