"""A proposal as the text of ``spec.py`` and ``features.sql``, formatted like those of the samples."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from include.onboarding.names import printable
from include.onboarding.periods import baseline_margin, calibration_limit, max_partition_rows, row_range
from include.onboarding.records import Proposal, Roles, SourceColumn
from include.onboarding.roles import UNIT
from include.spec import Columns, Feature

WIDTH: Final = 120
_MAX_COMMENT: Final = 400
_FEW_ROWS: Final = 1000
_ALWAYS_WRITTEN: Final = "handle_unknown"  # a comment explains it
_UNITS: Final = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))

_TREES: Final = (
    "def build_estimator(columns: Columns) -> Any:  # noqa: ARG001 (trees take numbers, nulls and codes as they are)\n"
    "    # Import here, not at the top: a DAG file reads this module and must not wait for scikit-learn.\n"
    "    from sklearn.ensemble import {name}\n\n"
    "    return {name}({arguments}, random_state=0)\n"
)
_LINEAR: Final = """def build_estimator(columns: Columns) -> Any:
    # Import here, not at the top: a DAG file reads this module and must not wait for scikit-learn.
    import numpy as np
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import {name}
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    encoded = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()),
            columns.numeric,
        ),
        (SimpleImputer(strategy="most_frequent", keep_empty_features=True), columns.boolean),
        (OneHotEncoder(handle_unknown="ignore"), columns.categorical),
    )
    return make_pipeline(FunctionTransformer(np.float64), encoded, {model})
"""


def render_query(roles: Roles, command: str) -> str:
    """Return ``features.sql``.

    Parameters
    ----------
    command : str
        What the user ran, for the comment.
    """
    columns = [roles.key_sql, roles.time, *(column for _, column in roles.features), roles.target]
    listed = ",\n       ".join(_selected(column) for column in columns)
    left_out = "".join(_comment(f"{each.column}: {each.reason}", "--   ") for each in roles.left_out)
    parts = [
        "-- The rows of a period: key, event time, features and target; no other column.\n",
        "-- Check that every feature is known when the prediction is made. Written by:\n",
        _comment(command, "-- "),
        f"-- Left out:\n{left_out}" if left_out else "",
        f"-- {roles.time.name}: {roles.time.note}. Correct the zone where it is another.\n" if roles.time.note else "",
        roles.common_table,
        f"SELECT {listed}\nFROM {roles.table_sql}\n",
        f"WHERE {roles.time.sql} >= :period_start\n  AND {roles.time.sql} < :period_end\n",
    ]
    return "".join(parts)


def render_spec(proposal: Proposal) -> str:
    """Return ``spec.py``."""
    roles = proposal.roles
    body = [
        f"name={_text(proposal.model)},  # the folder's name",
        f"task={_text(roles.task)},",
        f"description={_text(_description(proposal))},",
        'owner="data-science",  # who is named when it fails',
        f"source={_text(proposal.source)},",
        f"entity_key={_key(proposal)},",
        f"event_time={_text(roles.time.name)},",
        *_features(proposal),
        *_target(proposal),
        "estimator=build_estimator,",
        *_window(proposal),
        *_contract(proposal),
        *_gates(proposal),
        _retrain(proposal),
        f"score_schedule={_text(proposal.schedule.cron)},  # {proposal.schedule.description}",
    ]
    indented = "\n".join(f"    {line}" if line else line for line in "\n".join(body).split("\n"))
    return (
        f'"""{_docstring(proposal)}"""\n\nfrom __future__ import annotations\n\nfrom datetime import timedelta\n'
        f"from typing import Any\n\n{_imports(proposal)}\n\n\n{_estimator(proposal)}\n\n"
        f"spec = ModelSpec(\n{indented}\n)\n"
    )


def duration(length: timedelta) -> str:
    """Return a duration in words, in the largest unit in which it is a whole number."""
    unit, count = _unit_of(length)
    return f"{count:,} {unit if count != 1 else unit[:-1]}"


def _comment(sentence: str, prefix: str) -> str:
    """Return a comment of SQL, wrapped; text of the data must not end the line that it stands in."""
    shown = printable(sentence)[:_MAX_COMMENT]
    lines = textwrap.wrap(shown, WIDTH, initial_indent=prefix, subsequent_indent=f"{prefix}  ")
    return "".join(f"{line}\n" for line in lines)


def _selected(column: SourceColumn) -> str:
    return column.sql if column.sql == column.name else f"{column.sql} AS {column.name}"  # any word may follow AS


def _docstring(proposal: Proposal) -> str:
    target = printable(proposal.roles.target.name)
    return f"Predicts {target} from {proposal.source}. Written by `sluice new`: fill in what only you know."


def _description(proposal: Proposal) -> str:
    return f"Predicts {proposal.roles.target.name} from the rows of {proposal.source}."


def _imports(proposal: Proposal) -> str:
    kinds = {type(feature).__name__ for feature, _ in proposal.roles.features}
    names = {"Columns", "Contract", "EntityKey", "MinimumLabels", "ModelSpec", "Target", "TrainingWindow"}
    names |= kinds | {"default_gates"}
    names |= {name for name in ("BetterThanBaseline", "Calibration") if f"{name}(" in "\n".join(_gates(proposal))}
    ordered = sorted(names, key=lambda name: (name[0].islower(), name))
    return "from include.spec import (\n" + "".join(f"    {name},\n" for name in ordered) + ")"


def _estimator(proposal: Proposal) -> str:
    regression = proposal.roles.task == "regression"
    kind = "Regressor" if regression else "Classifier"
    rows = proposal.counts.train
    if proposal.estimator == "boosting":
        small = rows < _FEW_ROWS
        arguments = f"max_iter=100, learning_rate={0.05 if small else 0.1}, min_samples_leaf={5 if small else 20}"
        return _TREES.format(name=f"HistGradientBoosting{kind}", arguments=arguments)
    if proposal.estimator == "forest":
        leaf = 20 if rows >= 20 * _FEW_ROWS else 5 if rows >= _FEW_ROWS / 5 else 2
        return _TREES.format(name=f"RandomForest{kind}", arguments=f"n_estimators=100, min_samples_leaf={leaf}")
    name = "Ridge" if regression else "LogisticRegression"
    return _LINEAR.format(name=name, model="Ridge()" if regression else "LogisticRegression(max_iter=1000)")


def _key(proposal: Proposal) -> str:
    key = proposal.roles.key
    more = ', type="bigint"' if key.type == "bigint" else ""
    return f"EntityKey(column={_text(key.column)}{more})"


def _features(proposal: Proposal) -> list[str]:
    features = tuple(feature for feature, _ in proposal.roles.features)
    lines = ["features=("]
    columns = Columns(features)
    if columns.numeric:
        lines.append(f'    # Fill in each unit="{UNIT}". The range is a guess from the data: beyond it a batch is')
        lines.append("    # stopped, a request refused.")
    if columns.categorical:
        lines.append('    # A category that is not listed counts as missing; handle_unknown="error" refuses it.')
    lines += [line for feature in features for line in _feature(feature)]
    return [*lines, "),"]


def _feature(feature: Feature) -> list[str]:
    """Return the lines of a feature of any type: the fields that it needs, and those that differ from the default."""
    arguments = []
    for name, field in type(feature).model_fields.items():
        value = getattr(feature, name)
        if name != "kind" and (field.is_required() or value != field.default or name == _ALWAYS_WRITTEN):
            arguments.append(_field(name, value))
    return _call(type(feature).__name__, arguments, indent=4, room=WIDTH - 4)


def _field(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return _tuple(name, [_text(each) for each in value])
    if isinstance(value, float):
        return f"{name}={_number(value)}"
    return f"{name}={_text(value) if isinstance(value, str) else value}"


def _target(proposal: Proposal) -> list[str]:
    roles = proposal.roles
    arguments = [f"column={_text(roles.target.name)}"]
    if roles.classes:
        arguments.append(_tuple("classes", [_text(each) for each in roles.classes]))
    comment = ["# The second class is the positive one."] if roles.task == "binary" else []
    comment.append("# Add label_delay=timedelta(...) if the outcome is known only some time after the event.")
    return [*comment, *_call("target=Target", arguments, indent=0, room=WIDTH - 4)]


def _window(proposal: Proposal) -> list[str]:
    window, counts = proposal.window, proposal.counts
    return [
        f"# {counts.train:,} labelled rows to train on, and the {counts.holdout:,} after them for the holdout.",
        *_call(
            "window=TrainingWindow",
            [f"train={_timedelta(window.train)}", f"holdout={_timedelta(window.holdout)}"],
            indent=0,
            room=WIDTH - 4,
        ),
    ]


def _contract(proposal: Proposal) -> list[str]:
    low, high = row_range(proposal.counts.all_rows)
    schedule = proposal.schedule
    comment = (
        f"# Found {proposal.counts.all_rows:,} rows in the window, {schedule.low:,} to {schedule.high:,} a partition."
    )
    return [
        comment,
        *_call(
            "contract=Contract",
            [
                f"training_rows=({low:_}, {high:_})",
                f"partition_rows=({min(1, schedule.low)}, {max_partition_rows(schedule.high):_})",
                f"freshness={_timedelta(proposal.freshness)}",
            ],
            indent=0,
            room=WIDTH - 4,
        ),
    ]


def _gates(proposal: Proposal) -> list[str]:
    roles, counts = proposal.roles, proposal.counts
    rarest = min((counts.holdout_by_class.get(label, 0) for label in roles.classes), default=0)
    per_class = f", per_class={rarest // 2}" if roles.classes and rarest >= 2 else ""
    replaced = [f"MinimumLabels(rows={_half(counts.holdout):_}{per_class}),"]
    metric = "r2" if roles.task == "regression" else "log_loss"
    margin = baseline_margin(counts.holdout, linear=proposal.estimator == "linear")
    if margin is not None:
        why = (
            "a linear model cannot beat a linear baseline"
            if proposal.estimator == "linear"
            else "few rows prove little"
        )
        replaced.append(f'BetterThanBaseline(metric="{metric}", margin=-{margin}),  # {why}')
    dropped = []
    if roles.classes:
        limit = calibration_limit(counts.holdout, proposal.calibration_error)
        if limit > 0.05:
            replaced.append(f"Calibration(max_error={limit:g}),  # on {counts.holdout:,} rows")
        if rarest == 0:  # not defined on a holdout without one of the classes
            dropped = ["non_inferiority:roc_auc", "within_history"]
    lines = [
        "# The task's defaults, with limits for this number of rows.",
        "gates=default_gates(",
        f"    {_text(roles.task)},",
        "    replace=(",
        *(f"        {each}" for each in replaced),
        "    ),",
    ]
    if dropped:
        lines.append(f"    drop=({', '.join(map(_text, dropped))}),  # the holdout lacks a class")
    return [*lines, "),"]


def _retrain(proposal: Proposal) -> str:
    if proposal.retrain is None:
        return 'retrain_schedule=None,  # only by hand: the newest row is old; "0 5 * * 1" is Mondays at 05:00 UTC'
    return f"retrain_schedule={_text(proposal.retrain)},  # Mondays at 05:00 UTC"


def _half(rows: int) -> int:
    return max(1, rows // 2)


def _text(value: str) -> str:
    """Return a literal as the formatter writes it: in single quotes only if that saves a backslash."""
    if not value.isprintable():
        return repr(value)
    written = json.dumps(value, ensure_ascii=False)
    return repr(value) if '\\"' in written and "'" not in value and "\\" not in value else written


def _number(value: float) -> str:
    return f"{int(value):_}" if value == int(value) and abs(value) < 1e15 else repr(value)


def _tuple(name: str, items: Sequence[str]) -> str:
    return f"{name}=({', '.join(items)}{',' if len(items) == 1 else ''})"


def _timedelta(length: timedelta) -> str:
    if length.microseconds:
        whole = length - timedelta(microseconds=length.microseconds)
        return f"timedelta(seconds={int(whole.total_seconds()):_}, microseconds={length.microseconds})"
    unit, count = _unit_of(length)
    return f"timedelta({unit}={count:_})"


def _unit_of(length: timedelta) -> tuple[str, int]:
    seconds = int(length.total_seconds())
    for unit, size in _UNITS:
        if seconds and seconds % size == 0:
            return unit, seconds // size
    return "seconds", seconds


def _call(name: str, arguments: Iterable[str], *, indent: int, room: int) -> list[str]:
    """Return a call as the formatter writes it: on one line, its arguments on the next, or one a line."""
    pad, listed = " " * indent, list(arguments)
    flat = f"{pad}{name}({', '.join(listed)}),"
    if len(flat) <= room:
        return [flat]
    inner = f"{pad}    {', '.join(listed)}"
    if len(inner) <= room:
        return [f"{pad}{name}(", inner, f"{pad}),"]
    lines = [f"{pad}{name}("]
    for each in listed:
        lines += _argument(each, indent + 4, room)
    return [*lines, f"{pad}),"]


def _argument(text: str, indent: int, room: int) -> list[str]:
    pad = " " * indent
    if len(pad) + len(text) + 1 <= room or "=(" not in text:
        return [f"{pad}{text},"]
    name, _, rest = text.partition("=(")
    items = _items(rest[:-1])
    return [f"{pad}{name}=(", *(f"{pad}    {item}," for item in items), f"{pad}),"]


def _items(listed: str) -> list[str]:
    """Split the literals of a tuple, in which a comma may be a part of a text."""
    found, quote, start, skip = [], "", 0, False
    for at, character in enumerate(listed):
        if skip:
            skip = False
        elif quote:
            skip = character == "\\"
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == ",":
            found.append(listed[start:at].strip())
            start = at + 1
    last = listed[start:].strip()
    return [*found, last] if last else found
