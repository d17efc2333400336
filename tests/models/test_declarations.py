"""A broken declaration names file, field, what was expected and what was found, and hides no other model."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from include.errors import SpecError, UnknownModelError
from include.models import declared_models, read_spec
from include.models.skeleton import write_skeleton
from include.schedule import partition_containing
from include.spec import (
    METRICS,
    BetterThanBaseline,
    Gate,
    MetricThreshold,
    MinimumLabels,
    NoLeakage,
    NonInferiority,
    Reproducible,
    Superiority,
    Task,
    WithinHistory,
    default_gates,
)
from include.spec.base import Cron
from tests.builders import QUERY, SPEC, declare_model

BARE = re.sub(r"gates=\(.*?\n    \),", "gates=(),", SPEC, flags=re.DOTALL)
OF_TASK: dict[Task, str] = {
    "binary": BARE,
    "multiclass": BARE.replace('"binary"', '"multiclass"').replace('"late")', '"late", "lost")'),
    "regression": BARE.replace('"binary"', '"regression"').replace(', classes=("on_time", "late")', ""),
}

FAULTS = {
    # what is replaced, by what: the field named, and what is said of it
    'name="{name}"': ('name="other"', "name", "the folder's name, 'parcels'"),
    'task="binary"': ('task="multiclass"', "target.classes", "a multiclass target needs at least 3 classes; found 2"),
    "minimum=0, maximum=100": ("minimum=100, maximum=0", "features.0.maximum", "maximum must be above minimum"),
    'column="outcome"': ('column="weight"', "features.0.name", "duplicate names: weight"),
    'source="source.{name}"': ('source="parcels"', "source", "expected schema.table in lower-case letters"),
    "train=timedelta(days=40)": ("train=timedelta(0)", "window.train", "a duration above zero"),
    "training_rows=(500, 100_000)": (
        "training_rows=(10, 5)",
        "contract.training_rows",
        "(minimum, maximum); found 10 before 5",
    ),
    "retrain_schedule=None": ('retrain_schedule="every day"', "retrain_schedule", "five fields, such as '0 4 * * 1'"),
    "score_schedule=None": (
        'score_schedule="0 25 * * *"',
        "score_schedule",
        "the schedule's hour is not valid; found '25'",
    ),
    'metric="roc_auc", margin=-0.5': ('metric="auc"', "gates.0.metric", "expected one of roc_auc"),
    'owner="tests"': ("owner=3", "owner", "expected text in quotes; found 3"),
    "Boolean(name=": ("Boolean(nome=", "features.3.nome", "Did you mean 'name'?"),
    "def build(columns):": ("def build(columns)", None, "expected Python; found: expected ':'"),
    "estimator=build": ("estimator=biuld", None, "a name that is defined or imported; found 'biuld'"),
}


@pytest.mark.parametrize("replaced", FAULTS)
def test_a_fault_names_file_field_and_what_was_expected(tmp_path: Path, replaced: str) -> None:
    by, field, expected = FAULTS[replaced]
    assert replaced in SPEC
    with pytest.raises(SpecError) as caught:
        declare_model(tmp_path, spec=SPEC.replace(replaced, by))
    (finding,) = caught.value.findings
    assert finding.file == caught.value.file == tmp_path / "parcels" / "spec.py"
    assert finding.field == field
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("shop_latest", "shop"), ("shop_shadow", "shop"), ("shop_p20260131_0000", "shop"),
        ("shop_p20260131_0000_s3", "shop"), ("shop_p20260131_0000_a12_s3", "shop"), ("a_latest_latest", "a_latest"),
    ],
)  # fmt: skip
def test_a_name_that_a_relation_of_another_model_has_is_refused(tmp_path: Path, name: str, of: str) -> None:
    with pytest.raises(SpecError, match=f"could be a view or table of the model '{of}'"):
        declare_model(tmp_path, name)
    with pytest.raises(SpecError, match=f"could be a view or table of the model '{of}'"):
        write_skeleton(tmp_path / "new", name)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name", ["latest", "shadow", "shop_latest_2", "shop_p2026_0000", "p20260131_0000", "latest_shop"]
)
def test_other_names_are_taken(tmp_path: Path, name: str) -> None:
    assert declare_model(tmp_path, name).name == name


@pytest.mark.parametrize("column", ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"])
def test_a_system_column_of_postgresql_is_refused(tmp_path: Path, column: str) -> None:
    for used in ("weight", "parcel_id", "sent_at", "outcome"):
        with pytest.raises(SpecError, match=f"PostgreSQL has a system column {column}"):
            declare_model(tmp_path, spec=SPEC.replace(f'"{used}"', f'"{column}"'))


def test_a_query_that_does_not_bind_the_period_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"features\.sql:4: field ':period_end': expected a query that binds :period_end"
    ):
        declare_model(tmp_path, query=QUERY.replace("AND sent_at < :period_end", ""))


def test_a_missing_query_is_named(tmp_path: Path) -> None:
    declare_model(tmp_path)
    (tmp_path / "parcels" / "features.sql").unlink()
    with pytest.raises(SpecError, match=r"expected a query beside spec\.py; found no such file"):
        read_spec(tmp_path / "parcels" / "spec.py")


def test_two_specs_in_a_file_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected exactly one ModelSpec in the file; found 2"):
        declare_model(tmp_path, spec=SPEC + "\nother = spec.model_copy(update={'seed': 1})\n")


def test_a_broken_model_hides_no_other_and_asking_for_it_tells_why(tmp_path: Path) -> None:
    declare_model(tmp_path, "good")
    declare_model(tmp_path, "bad")
    (tmp_path / "bad" / "spec.py").write_text("raise OSError('no')")
    models = declared_models(tmp_path)
    assert list(models.specs) == ["good"]
    with pytest.raises(SpecError, match="OSError: no"):
        models["bad"]
    with pytest.raises(UnknownModelError, match="declared models: good"):
        models["ugly"]


def test_the_digest_changes_with_either_file_and_with_nothing_else(tmp_path: Path) -> None:
    first = declare_model(tmp_path).digest
    assert declare_model(tmp_path).digest == first
    assert declare_model(tmp_path, query=QUERY + "-- a word more").digest != first
    assert declare_model(tmp_path, spec=SPEC + "# a word more").digest != first


def test_two_trainings_are_weighed_exactly_where_they_are_declared(tmp_path: Path) -> None:
    plain = declare_model(tmp_path)
    assert "reproducible" not in {gate.kind for gate in plain.policy}
    twice = declare_model(
        tmp_path, spec=SPEC.replace("retrain_schedule=None,", "retrain_schedule=None, reproducible=True,")
    )
    assert [gate.kind for gate in twice.policy] == [*(gate.kind for gate in plain.policy), "reproducible"]
    with pytest.raises(SpecError, match="the gate reproducible needs a second training"):
        declare_model(tmp_path, spec=SPEC.replace("gates=(", "gates=(Reproducible(),"))


def test_a_policy_that_says_nothing_of_labels_asks_for_the_default_number(tmp_path: Path) -> None:
    declared = SPEC.replace("MinimumLabels(rows=100)", "NoLeakage()").replace("MinimumLabels,", "NoLeakage,")
    first, *rest = declare_model(tmp_path, spec=declared).policy
    assert (first.kind, first.rows, first.per_class) == ("minimum_labels", 500, 50)
    assert "minimum_labels" not in {gate.kind for gate in rest}
    with pytest.raises(SpecError, match="a number above 0"):
        declare_model(tmp_path, spec=SPEC.replace("MinimumLabels(rows=100)", "MinimumLabels(rows=0)"))


def test_a_divergence_needs_a_bound_and_a_regression_has_no_labels_to_flip(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a prediction_churn gate needs a bound"):
        declare_model(tmp_path, spec=SPEC.replace("gates=(", "gates=(PredictionChurn(),"))
    value = SPEC.replace('"binary"', '"regression"').replace(', classes=("on_time", "late")', "")
    with pytest.raises(SpecError, match="a regression has no labels; remove max_label_flips"):
        declare_model(tmp_path, spec=value.replace("gates=(", "gates=(PredictionChurn(max_label_flips=0.1),"))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_single_defaults_are_replaced_dropped_and_added_by_name(task: Task) -> None:
    plain = default_gates(task)
    changed = default_gates(
        task,
        replace=(NoLeakage(allowed=("balance",)), MinimumLabels(rows=7)),
        drop=("within_history", "non_inferiority"),
        add=(Reproducible(),),
    )
    kept = [gate for gate in plain if gate.kind not in ("within_history", "non_inferiority")]
    assert [gate.name for gate in changed] == [*(gate.name for gate in kept), "reproducible"]
    assert NoLeakage(allowed=("balance",)) in changed
    assert MinimumLabels(rows=7) in changed
    assert len({gate.name for gate in plain}) == len(plain), "each has a name of its own"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"drop": ("leakage",)},
            "drop expects one of minimum_labels, better_than_baseline:log_loss, .*found 'leakage'",
        ),
        ({"replace": (NonInferiority(metric="brier"),)}, "replace expects one of .*; found 'non_inferiority:brier'"),
        ({"drop": ("minimum_labels",)}, "minimum_labels cannot be dropped; replace it"),
        ({"drop": ("non_inferiority:roc_auc", "non_inferiority:roc_auc")}, "found 'non_inferiority:roc_auc'"),
    ],
)
def test_a_default_that_does_not_exist_is_refused_with_the_names_of_all(change: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        default_gates("binary", **change)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("gate", [BetterThanBaseline, NonInferiority, Superiority, MetricThreshold, WithinHistory])
@pytest.mark.parametrize("metric", list(METRICS))
def test_a_gate_fits_the_task_or_the_declaration_is_refused(
    tmp_path: Path, task: Task, gate: type[Gate], metric: str
) -> None:
    limits = ", minimum=0.1" if gate is MetricThreshold else ""
    spec = OF_TASK[task].replace("gates=(", f'gates=({gate.__name__}(metric="{metric}"{limits}),', 1)
    if task in METRICS[metric].tasks:
        assert declare_model(tmp_path, spec=spec).gates[0].name.endswith(f":{metric}")
    else:
        with pytest.raises(SpecError, match=f"measures {metric}, which a {task} model does not have: use one of "):
            declare_model(tmp_path, spec=spec)


@pytest.mark.parametrize("gate", ["Calibration()", "MinimumLabels(rows=1, per_class=2)"])
def test_a_regression_has_neither_calibration_nor_classes(tmp_path: Path, gate: str) -> None:
    with pytest.raises(SpecError, match=r"ece, which a regression model does not have: remove it|remove per_class"):
        declare_model(tmp_path, spec=OF_TASK["regression"].replace("gates=(", f"gates=({gate},", 1))


@pytest.mark.parametrize("duration", ["365", "'365'", "'P7D'", "30.5", "True"])
@pytest.mark.parametrize("field", ["train", "holdout", "gap", "freshness"])
def test_a_duration_without_a_unit_is_refused(tmp_path: Path, duration: str, field: str) -> None:
    spec = re.sub(rf"{field}=timedelta\(days=\d+\)", f"{field}={duration}", SPEC)
    if field == "gap":
        spec = SPEC.replace("TrainingWindow(", f"TrainingWindow(gap={duration}, ")
    with pytest.raises(SpecError, match=rf"{field}.*a duration with its unit, such as timedelta\(days=7\); found"):
        declare_model(tmp_path, spec=spec)


cron = TypeAdapter(Cron)
ITEMS = [
    st.tuples(st.integers(low, high), st.integers(1, 9)) for low, high in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
]


@given(st.tuples(*ITEMS), st.sampled_from(["{0}", "*", "*/{1}", "{0},{0}", "{0}-{0}"]))
def test_a_schedule_of_five_good_fields_is_taken(fields: tuple[tuple[int, int], ...], form: str) -> None:
    expression = " ".join(form.format(*field) for field in fields)
    assert cron.validate_python(expression) == expression


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "a * * * *", "@dayly", "0 0 * * * *"]
)
def test_a_bad_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ValidationError):
        cron.validate_python(expression)


@pytest.mark.parametrize(
    "expression", ["@daily", "@hourly", "0 4 * * MON", "0 0 L * *", "0 0 * FEB SUN", "0 0 * * 1#2", "50-10 * * * *"]
)
def test_what_airflow_takes_is_taken(expression: str) -> None:
    assert cron.validate_python(expression) == expression
    assert croniter.is_valid(expression)


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6 *"])
def test_a_schedule_that_never_occurs_is_refused_in_a_sentence(expression: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(f"the schedule '{expression}' never occurs")):
        cron.validate_python(expression)


def test_a_preset_that_only_airflow_has_means_the_same() -> None:
    assert cron.validate_python("@quarterly") == "0 0 1 */3 *"


@pytest.mark.parametrize("expression", ["R R * * *", "0 r * * *", "R(0-10) 4 * * *"])
def test_a_random_time_is_no_schedule_since_its_partitions_would_move(expression: str) -> None:
    with pytest.raises(ValidationError, match=r"found R, a random time|is not valid"):
        cron.validate_python(expression)


CRON_FIELDS = [
    ["0", "*", "*/7", "H", "R", "59", "0-10/3", "?"],
    ["0", "*", "23", "H", "1-3"],
    ["1", "31", "L", "30", "29", "*", "?", "15W", "1,L"],
    ["2", "*", "FEB", "4,6", "13"],
    ["*", "MON", "L5", "1#2", "1#5", "0", "7", "?", "SUN#6", "1-5"],
]


@given(st.tuples(*(st.sampled_from(field) for field in CRON_FIELDS)))
def test_a_schedule_that_is_taken_has_a_partition_at_any_time(fields: tuple[str, ...]) -> None:
    try:
        schedule = cron.validate_python(" ".join(fields))
    except ValidationError:
        return
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    found = partition_containing(schedule, moment)
    assert found.start <= moment < found.end
    assert partition_containing(schedule, moment) == found


@pytest.mark.parametrize("field", ["train=timedelta(days=40)", "holdout=timedelta(days=10)"])
def test_a_duration_longer_than_the_calendar_is_refused(tmp_path: Path, field: str) -> None:
    with pytest.raises(SpecError, match="expected a duration of at most 365,000 days"):
        declare_model(tmp_path, spec=SPEC.replace(field, field.split("=")[0] + "=timedelta(days=900_000)"))
