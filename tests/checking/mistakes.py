"""Sixty mistakes planted in a sound declaration, each with what must be found: file, line, and field or feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.builders import QUERY, SPEC

BUILD = "return HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, early_stopping=False)"
IMPORT = "from sklearn.ensemble import HistGradientBoostingClassifier"


@dataclass(frozen=True)
class Expected:
    """A finding: the text that is on its line, its field or its feature, and words of its sentence or hint."""

    at: str
    subject: str | None
    says: str
    file: str = "spec.py"
    severity: str = "error"


@dataclass(frozen=True)
class Mistake:
    """What is replaced in the two files, and the finding that must follow."""

    finding: Expected
    spec: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


def in_spec(old: str, new: str, at: str, subject: str | None, says: str, severity: str = "error") -> Mistake:
    return Mistake(Expected(at, subject, says, severity=severity), spec={old: new})


def in_query(old: str, new: str, at: str, subject: str | None, says: str) -> Mistake:
    return Mistake(Expected(at, subject, says, "features.sql"), query={old: new})


def in_rows(old: str, new: str, at: str, subject: str | None, says: str, severity: str = "error") -> Mistake:
    """Return a mistake of the rows, which the query changes: it is found where ``spec.py`` declares them."""
    return Mistake(Expected(at, subject, says, severity=severity), query={old: new})


WRITTEN: dict[str, Mistake] = {
    # One for each way in which a field, a name, a call or a pair of fields can be wrong.
    "unknown task": in_spec('task="binary"', 'task="binray"', 'task="binray"', "task", "Did you mean 'binary'?"),
    "owner is a number": in_spec('owner="tests"', "owner=3", "owner=3", "owner", "expected text in quotes; found 3"),
    "source without schema": in_spec('"source.{name}"', '"parcels"', "source=", "source", "schema.table"),
    "name of another folder": in_spec('name="{name}"', 'name="parcel"', 'name="parcel"', "name", "the folder's name"),
    "name of another model's view": in_spec(
        'name="{name}"', 'name="shop_latest"', 'name="shop_latest"', "name", "must not end with _latest"
    ),
    "a field is missing": in_spec('    owner="tests",\n', "", "spec = ModelSpec(", None, "Add owner=... to ModelSpec"),
    "a misspelt field": in_spec(
        "event_time=", "event_tiem=", "event_tiem=", "event_tiem", "Did you mean 'event_time'?"
    ),
    "an unknown field": in_spec("    retrain", "    color=1,\n    retrain", "color=1", "color", "Remove it."),
    "empty range": in_spec("maximum=100)", "maximum=0)", 'name="weight"', "weight", "maximum must be above minimum"),
    "a bound is text": in_spec("maximum=100)", 'maximum="many")', 'name="weight"', "weight", "a number; found 'many'"),
    "a bound is infinite": in_spec(
        "maximum=100)", 'maximum=float("inf"))', 'name="weight"', "weight", "a number that is not infinite"
    ),
    "a misspelt class": in_spec('Numeric(name="weight"', 'Numerik(name="weight"', "Numerik", None, "mean 'Numeric'?"),
    "a feature without unit": in_spec('unit="kg", ', "", 'name="weight"', "weight", "Add unit=... to Numeric"),
    "a field of another feature type": in_spec(
        'Boolean(name="fragile")', 'Boolean(name="fragile", unit="")', 'name="fragile"', "fragile", "found 'unit'"
    ),
    "a name in capital letters": in_spec(
        'name="fragile"', 'name="Fragile"', 'name="Fragile"', "Fragile", "a lower-case letter, then"
    ),
    "a system column": in_spec('"fragile"', '"xmin"', 'name="xmin"', "xmin", "PostgreSQL has a system column xmin"),
    "two features of one name": in_spec(
        'name="fragile"', 'name="weight"', 'Boolean(name="weight")', "weight", "duplicate names: weight"
    ),
    "categories are no tuple": in_spec(
        'categories=("ant", "bee", "cat")',
        'categories=("ant")',
        'name="carrier"',
        "carrier",
        "needs a comma at its end",
    ),
    "a misspelt choice": in_spec(
        'handle_unknown="error"', 'handle_unknown="eror"', 'name="carrier"', "carrier", "Did you mean 'error'?"
    ),
    "no feature": in_spec(
        SPEC[SPEC.index("features=(") : SPEC.index("    target=")],
        "features=(),\n",
        "features=()",
        "features",
        "1 value",
    ),
    "target is text": in_spec(
        SPEC[SPEC.index("Target(") : SPEC.index("    estimator")], '"outcome",\n', "target=", "target", "Target(...)"
    ),
    "one class": in_spec('("on_time", "late")', '("late",)', "target=", "target.classes", "needs exactly 2 classes"),
    "two classes of three": in_spec(
        'task="binary"', 'task="multiclass"', "target=", "target.classes", "needs at least 3 classes; found 2"
    ),
    "equal classes": in_spec('"on_time"', '"late"', "target=", "target.classes", "must differ from each other"),
    "an empty label": in_spec('"on_time"', '""', "target=", "target.classes.0", "1 to 100 printable characters"),
    "a window without unit": in_spec(
        "timedelta(days=40)", "40", "window=", "window.train", "such as timedelta(days=7)"
    ),
    "a window of nothing": in_spec("timedelta(days=40)", "timedelta(0)", "window=", "window.train", "above zero"),
    "a negative delay": in_spec(
        'column="outcome"', 'column="outcome", label_delay=timedelta(-1)', "target=", "target.label_delay", "or more"
    ),
    "a call that fails": in_spec("timedelta(days=10)", "timedelta(dais=10)", "window=", None, "that timedelta fails"),
    "limits in the wrong order": in_spec(
        "(500, 100_000)", "(500, 5)", "contract=", "contract.training_rows", "500 before 5"
    ),
    "a negative number of rows": in_spec(
        "(1, 10_000)", "(-1, 10)", "contract=", "contract.partition_rows.0", "at least 0"
    ),
    "an unknown metric": in_spec('"roc_auc", margin=-0.5', '"auc"', 'metric="auc"', "gates.0.metric", "one of roc_auc"),
    "a metric of another task": in_spec(
        '"roc_auc", margin=-0.5',
        '"rmse"',
        'metric="rmse"',
        "gates.0.metric",
        "rmse, which a binary model does not have",
    ),
    "a negative margin": in_spec(
        "margin=0.02", "margin=-1", "NonInferiority(", "gates.1.margin", "at least 0; found -1"
    ),
    "a gate as a class": in_spec(
        "MinimumLabels(rows=100)",
        "MinimumLabels",
        "        MinimumLabels,",
        "gates.2",
        "Call the class: MinimumLabels(...)",
    ),
    "fields without names": in_spec(
        "MinimumLabels(rows=100)", "MinimumLabels(100)", "MinimumLabels(100)", None, "MinimumLabels(rows=..."
    ),
    "a slice of no feature": in_spec(
        "    retrain",
        '    evaluation=EvaluationConfig(slices=(Slice(feature="colour"),)),\n    retrain',
        "evaluation=",
        "evaluation.slices.0.feature",
        "which is not a feature",
    ),
    "a gate without slices": in_spec(
        "MinimumLabels(rows=100)",
        'MinimumLabels(rows=100), NoInferiorSlice(metric="roc_auc")',
        "NoInferiorSlice",
        "gates.3",
        "declare evaluation.slices",
    ),
    "a default gate that is not there": in_spec(
        SPEC[SPEC.index("gates=(") : SPEC.index("    retrain")],
        'gates=default_gates("binary", drop=("latency",)),\n',
        "gates=",
        None,
        "drop expects one of",
    ),
    "a schedule of four fields": in_spec(
        "retrain_schedule=None", 'retrain_schedule="0 4 * *"', "retrain_schedule=", "retrain_schedule", "five fields"
    ),
    "a schedule that never occurs": in_spec(
        "score_schedule=None", 'score_schedule="0 0 31 2 *"', "score_schedule=", "score_schedule", "never occurs"
    ),
    "a deadline without a unit": in_spec(
        "score_schedule=None,",
        "freshness=Freshness(scores_by=6),",
        "freshness=",
        "freshness.scores_by",
        "such as '06:00', or a duration",
    ),
    "a start without a deadline": in_spec(
        "score_schedule=None,",
        "score_start=ScoreStart(contract_holds=True),",
        "score_start=",
        "score_start",
        "needs a deadline",
    ),
    "a bound of no score": in_spec(
        "    retrain",
        '    scoring=Scoring(bounds=(MeanScore(column="p_lost", minimum=0, maximum=1),)),\n    retrain',
        "scoring=",
        "scoring.bounds.0",
        "one of p_on_time, p_late",
    ),
    "a missing module": in_spec(
        "from datetime", "import sklear\nfrom datetime", "import sklear", None, "mean 'sklearn'?"
    ),
    "a missing name of a module": in_spec(
        "import timedelta", "import timedelta, datetim", "import timedelta, datetim", None, "Did you mean 'datetime'?"
    ),
    "a misspelt function": in_spec("estimator=build", "estimator=biuld", "estimator=", None, "Did you mean 'build'?"),
    "a misspelt name in the function": in_spec(
        "return Hist", "return Histo", "return Histo", None, "Did you mean 'HistGradientBoostingClassifier'?"
    ),
    "no Python": in_spec("def build(columns):", "def build(columns)", "def build(columns)", None, "expected ':'"),
    "two declarations": in_spec(
        "    score_schedule=None,\n)",
        "    score_schedule=None,\n)\nagain = spec.model_copy()",
        "again =",
        "spec",
        "found 2",
    ),
    "a slow import": in_spec(
        "from datetime", "import pandas\nfrom datetime", "import pandas", None, "every few seconds", "warning"
    ),
    # features.sql, as a text
    "a misspelt parameter": in_query(":period_end", ":period_ent", ":period_ent", ":period_end", "found ':period_ent'"),
    "a parameter is missing": in_query(" AND sent_at < :period_end", "", "WHERE", ":period_end", "binds :period_end"),
    "two statements": in_query("SELECT", "SELECT 1;\nSELECT", "SELECT parcel_id", "features.sql", "another statement"),
    "an open string": in_query("WHERE", "WHERE 'a <> 'b' AND", "WHERE", "features.sql", "string that is not closed"),
}

READ: dict[str, Mistake] = {
    # features.sql, as the database reads it
    "an unknown column": in_query("weight", "wieght", "wieght", "wieght", "Did you mean 'weight'?"),
    "an unknown table": in_query("source.{name}", "source.parcel", "source.parcel", None, "mean 'source.parcels'?"),
    "no SQL": in_query("FROM", "FORM", "FORM", None, "SQL that PostgreSQL can read"),
    "an unknown function": in_query("weight", "rond(weight) AS weight", "rond", None, "function rond"),
    "a column is missing": in_rows("weight, ", "", 'name="weight"', "weight", "in the result of features.sql"),
    "a column of another name": in_rows("weight", "weight AS weigth", 'name="weight"', "weight", "mean 'weigth'?"),
    "a column too many": in_query("weight", "weight, 1 AS lot", "AS lot", "lot", "expected only declared columns"),
    "a number as text": in_rows(
        "weight", "weight::text AS weight", 'name="weight"', "weight", "weight::double precision"
    ),
    "a time without zone": in_rows(
        "sent_at, ", "sent_at::timestamp AS sent_at, ", "event_time=", "event_time", "timestamp with time zone"
    ),
    # The rows
    "a range that the rows break": in_rows(
        "weight", "weight - 10 AS weight", 'name="weight"', "weight", "sampled rows otherwise, from -"
    ),
    "nulls": in_rows("fragile", "nullif(fragile, true) AS fragile", 'name="fragile"', "fragile", "expected no null"),
    "a category that is not declared": in_rows(
        "carrier", "upper(carrier) AS carrier", 'name="carrier"', "carrier", "ANT ("
    ),
    "a key on two rows": in_rows(
        "FROM source.{name}",
        "FROM source.{name} CROSS JOIN generate_series(1, 2) AS twice",
        "entity_key=",
        "parcel_id",
        "each key once",
    ),
    "a key twice in a partition": in_rows(
        "parcel_id,", "'of ' || sent_at::date AS parcel_id,", "entity_key=", "parcel_id", "each key once in a partition"
    ),
    "an undeclared label": in_rows("outcome", "initcap(outcome) AS outcome", "target=", "outcome", "found 'Late'"),
    "a class without rows": in_rows(
        "outcome", "'late'::text AS outcome", "target=", "outcome", "found none of on_time"
    ),
    "too few rows": in_spec("(500, ", "(5_000, ", "contract=", "contract.training_rows", "found 2,000"),
    "no rows": in_rows("sent_at >=", "sent_at < '2020-01-01' AND sent_at >=", "window=", "window", "found none at all"),
    "days without rows": in_rows(
        "WHERE",
        "WHERE extract(isodow FROM sent_at) <> 7 AND",
        "contract=",
        "contract.partition_rows",
        "(Sunday)",
        "warning",
    ),
    "a division by zero": in_query("weight", "1 / (fragile::int) AS weight", "AS weight", "weight", "division by zero"),
    "a constant feature": in_rows("weight", "1 AS weight", 'name="weight"', "weight", "the same in all", "warning"),
    # The estimator
    "an unknown argument": in_spec(
        "max_iter", "max_itr", "max_itr", "estimator", "unexpected keyword argument 'max_itr'"
    ),
    "no estimator": in_spec("    return Hist", "    Hist", "def build", "estimator", "Does it lack a `return`?"),
    "an estimator of another task": in_spec(
        BUILD,
        "from sklearn.linear_model import Ridge\n    return Ridge()",
        "return Ridge",
        "estimator",
        "is a regressor",
    ),
    "an estimator without nulls": in_spec(
        BUILD,
        "from sklearn.linear_model import LogisticRegression\n    return LogisticRegression()",
        "return LogisticRegression",
        "estimator",
        "takes no nulls, and these features have them in the training rows: distance",
    ),
    "a wrong setting": in_spec("max_iter=20", "max_iter=-20", "max_iter=-20", "estimator", "max_iter"),
    "an estimator that ends the process": in_spec(
        BUILD,
        "import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n    " + BUILD,
        "def build",
        "estimator",
        "found that its process ended",
    ),
    "an estimator that does not convert": in_spec(
        BUILD,
        "from sklearn.pipeline import make_pipeline\n    from sklearn.preprocessing import QuantileTransformer\n"
        "    bell = QuantileTransformer(output_distribution='normal')\n"
        "    return make_pipeline(bell, " + BUILD.removeprefix("return ") + ")",
        "bell = QuantileTransformer",
        "estimator",
        "cannot be served",
    ),
}

MISTAKES = {**WRITTEN, **READ}


def plant(folder: Path, *mistakes: Mistake) -> None:
    """Write the declaration ``parcels`` with mistakes into `folder`."""
    texts = {"spec.py": SPEC, "features.sql": QUERY}
    for mistake in mistakes:
        for file, edits in (("spec.py", mistake.spec), ("features.sql", mistake.query)):
            for old, new in edits.items():
                assert old in texts[file], old
                texts[file] = texts[file].replace(old, new, 1)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_text(text.replace("{name}", "parcels"))


def line_of(folder: Path, expected: Expected) -> int:
    """Return the number of the only line that the finding is about."""
    lines = (folder / expected.file).read_text().splitlines()
    found = [number for number, line in enumerate(lines, 1) if expected.at in line]
    assert found, expected.at
    return found[-1]
