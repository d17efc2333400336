"""A generator of edits: the text of a declaration, changed as people change theirs, by a seed."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field

HEAD = '''
from datetime import timedelta

from include.spec import *

LEAVES = {leaves}
UNUSED = {unused}


def build(columns):
    """{docstring}"""
    from sklearn.ensemble import HistGradientBoostingClassifier

    {comment}
    return HistGradientBoostingClassifier(max_iter={max_iter}, max_leaf_nodes=LEAVES, early_stopping=False)


'''
NUMBERS = ("weight", "distance", "volume")
TEXTS = ("carrier", "packing", "digit")


@dataclass
class Draft:
    """A declaration in parts, each the text of its value."""

    fields: dict[str, str]
    features: dict[str, tuple[str, dict[str, str]]]
    """By name: the class, and its arguments."""
    columns: dict[str, str]
    """Of the query, by name: the expression."""
    conditions: list[str] = field(default_factory=list)
    code: dict[str, str] = field(default_factory=dict)
    query_comment: str = ""
    loud: bool = False
    """Whether the keywords of the query are in lower case."""

    def spec(self) -> str:
        features = "".join(
            f"\n        {kind}(name={name!r}, {', '.join(f'{key}={value}' for key, value in arguments.items())}),"
            for name, (kind, arguments) in self.features.items()
        )
        fields = {**self.fields, "features": f"({features}\n    )", "estimator": "build"}
        body = "".join(f"    {name}={value},\n" for name, value in fields.items())
        return HEAD.format(**self.code) + f"spec = ModelSpec(\n{body})\n"

    def query(self) -> str:
        columns = ",\n    ".join(expression if expression == name else f"{expression} AS {name}"
                                 for name, expression in self.columns.items())  # fmt: skip
        where = " AND ".join(["sent_at >= :period_start AND sent_at < :period_end", *self.conditions])
        words = ("select", "from", "where") if self.loud else ("SELECT", "FROM", "WHERE")
        comment = f"-- {self.query_comment}\n" if self.query_comment else ""
        return f"{comment}{words[0]} {columns}\n{words[1]} source.parcels\n{words[2]} {where}\n"


BASE = Draft(
    fields={
        "name": '"parcels"',
        "task": '"binary"',
        "description": '"Will the parcel be late?"',
        "owner": '"tests"',
        "source": '"source.parcels"',
        "entity_key": 'EntityKey(column="parcel_id")',
        "event_time": '"sent_at"',
        "target": 'Target(column="outcome", classes=("on_time", "late"))',
        "window": "TrainingWindow(train=timedelta(days=40), holdout=timedelta(days=10))",
        "contract": "Contract(training_rows=(100, 100_000), partition_rows=(1, 10_000))",
        "gates": "(MinimumLabels(rows=10),)",
        "scoring": 'Scoring(parity="off")',
    },
    features={
        "weight": ("Numeric", {"unit": '"kg"', "minimum": "0", "maximum": "100"}),
        "distance": ("Numeric", {"unit": '"km"', "minimum": "0", "maximum": "5000", "nullable": "True"}),
        "carrier": ("Categorical", {"categories": '("ant", "bee", "cat")', "handle_unknown": '"error"'}),
        "packing": ("Categorical", {"categories": '("hard", "soft")'}),
        "digit": ("Categorical", {}),
        "fragile": ("Boolean", {}),
    },
    columns={
        "parcel_id": "parcel_id",
        "sent_at": "sent_at",
        "weight": "weight",
        "distance": "distance",
        "carrier": "carrier",
        "packing": "CASE WHEN fragile THEN 'soft' ELSE 'hard' END",
        "digit": "right(parcel_id, 1)",
        "fragile": "fragile",
        "outcome": "outcome",
    },
    code={"leaves": "7", "unused": "1", "docstring": "Build.", "comment": "# small", "max_iter": "20"},
)

Edit = Callable[[random.Random, Draft], None]


def draft_of(seed: int) -> Draft:
    """Return the base declaration with one to three edits."""
    chance = random.Random(seed)  # noqa: S311  # the same edits each time
    draft = copy.deepcopy(BASE)
    for edit in chance.sample(EDITS, chance.choice((1, 1, 1, 2, 3))):
        edit(chance, draft)
    return draft


def of_field(name: str, *values: str) -> Edit:
    return lambda chance, draft: draft.fields.update({name: chance.choice(values)})


def of_code(name: str, *values: str) -> Edit:
    return lambda chance, draft: draft.code.update({name: chance.choice(values)})


def of_feature(names: tuple[str, ...], argument: str, *values: str) -> Edit:
    def edit(chance: random.Random, draft: Draft) -> None:
        there = [name for name in names if name in draft.features]
        if there:
            draft.features[chance.choice(there)][1][argument] = chance.choice(values)

    return edit


def remove_feature(chance: random.Random, draft: Draft) -> None:
    name = chance.choice(list(draft.features))
    if len(draft.features) > 2:
        del draft.features[name]
        if chance.random() < 0.8:
            draft.columns.pop(name, None)


def add_feature(chance: random.Random, draft: Draft) -> None:
    feature = (
        "Numeric",
        {"unit": '"l"', "minimum": "0", "maximum": "1e6", "nullable": chance.choice(("True", "False"))},
    )
    items = list(draft.features.items())
    items.insert(chance.randint(0, len(items)), ("volume", feature))
    draft.features = dict(items)
    if chance.random() < 0.8:
        draft.columns["volume"] = "weight * 3"


def rename_feature(chance: random.Random, draft: Draft) -> None:
    name = chance.choice([each for each in draft.features if each != "volume"])
    draft.features = {("new_" + each if each == name else each): value for each, value in draft.features.items()}
    if chance.random() < 0.8 and name in draft.columns:
        draft.columns = {("new_" + each if each == name else each): value for each, value in draft.columns.items()}


def shuffle_features(chance: random.Random, draft: Draft) -> None:
    items = list(draft.features.items())
    chance.shuffle(items)
    draft.features = dict(items)


def shuffle_columns(chance: random.Random, draft: Draft) -> None:
    items = list(draft.columns.items())
    chance.shuffle(items)
    draft.columns = dict(items)


def numbers_as_text(chance: random.Random, draft: Draft) -> None:
    if "weight" in draft.features:
        draft.features["weight"] = ("Categorical", {})
        if chance.random() < 0.7 and "weight" in draft.columns:
            draft.columns["weight"] = "round(weight)::text"


def change_expression(chance: random.Random, draft: Draft) -> None:
    if "weight" in draft.columns:
        draft.columns["weight"] = chance.choice(("weight * 2", "least(weight, 20)", "weight + 0", "weight::real"))


def comment_query(chance: random.Random, draft: Draft) -> None:
    draft.query_comment = chance.choice(("the parcels", "SELECT nothing; DROP", ":period_start"))


def lower_query(_chance: random.Random, draft: Draft) -> None:
    draft.loud = True


def add_condition(chance: random.Random, draft: Draft) -> None:
    draft.conditions.append(
        chance.choice(("NOT fragile", "weight > 5", "weight >= 0", "carrier <> 'cat'", "parcel_id IS NOT NULL"))
    )


def rename_key(chance: random.Random, draft: Draft) -> None:
    expression = chance.choice(("parcel_id", "reverse(parcel_id)"))
    draft.fields["entity_key"] = 'EntityKey(column="parcel")'
    draft.columns = {"parcel": expression, **{k: v for k, v in draft.columns.items() if k != "parcel_id"}}


def number_key(chance: random.Random, draft: Draft) -> None:
    draft.fields["entity_key"] = 'EntityKey(column="parcel_id", type="bigint")'
    draft.columns["parcel_id"] = "substr(parcel_id, 8)::bigint"


def rename_time(chance: random.Random, draft: Draft) -> None:
    draft.fields["event_time"] = '"at"'
    draft.columns = {"at": "sent_at", **{k: v for k, v in draft.columns.items() if k != "sent_at"}}


def rename_target(chance: random.Random, draft: Draft) -> None:
    expression = chance.choice(("outcome", "CASE WHEN weight > 15 THEN 'late' ELSE outcome END"))
    draft.fields["target"] = 'Target(column="result", classes=("on_time", "late"))'
    draft.columns = {**{k: v for k, v in draft.columns.items() if k != "outcome"}, "result": expression}


def rename_classes(chance: random.Random, draft: Draft) -> None:
    """Rename a class: one label with the same column as before, and one with another."""
    label = chance.choice(("On time", "in_time"))
    draft.fields["target"] = f'Target(column="outcome", classes=({label!r}, "late"))'
    draft.columns["outcome"] = f"CASE outcome WHEN 'on_time' THEN '{label}' ELSE outcome END"


def three_classes(chance: random.Random, draft: Draft) -> None:
    draft.fields["task"] = '"multiclass"'
    draft.fields["target"] = 'Target(column="outcome", classes=("on_time", "late", "lost"))'
    draft.columns["outcome"] = "CASE WHEN weight > 25 THEN 'lost' ELSE outcome END"
    draft.fields.pop("decision_threshold", None)


def regression(chance: random.Random, draft: Draft) -> None:
    draft.fields["task"] = '"regression"'
    draft.fields["target"] = 'Target(column="outcome")'
    draft.columns["outcome"] = "length(outcome)"
    draft.fields.pop("decision_threshold", None)
    draft.fields["gates"] = "(MinimumLabels(rows=20),)"


def threshold(chance: random.Random, draft: Draft) -> None:
    if draft.fields["task"] == '"binary"':
        draft.fields["decision_threshold"] = chance.choice(
            ("DecisionThreshold(value=0.3)", 'DecisionThreshold(maximize="f1")', "DecisionThreshold(costs=(1, 5))")
        )


EDITS: tuple[Edit, ...] = (
    of_field("description", '"Late?"', '"P1D"'),
    of_field("owner", '"operations"'),
    of_field("source", '"source.deliveries"'),
    of_field("tags", '("a", "b")'),
    of_field("alert_channels", '("night",)'),
    of_field("seed", "1", "0"),
    of_field("window", "TrainingWindow(train=timedelta(days=30), holdout=timedelta(days=10))",
             "TrainingWindow(train=timedelta(days=40), holdout=timedelta(days=9), gap=timedelta(days=1))"),
    of_field("contract", "Contract(training_rows=(1, 9_000), partition_rows=(1, 10_000))",
             "Contract(training_rows=(100, 100_000), partition_rows=(50, 60))",
             "Contract(training_rows=(100, 100_000), partition_rows=(1, 10_000), freshness=timedelta(days=3))"),
    of_field("gates", "(MinimumLabels(rows=20),)",
             '(MinimumLabels(rows=10), MetricThreshold(metric="mae", maximum=9))'),
    of_field("evaluation", "EvaluationConfig(n_resamples=300)", "EvaluationConfig(confidence_level=0.9)"),
    of_field("reproducible", "True"),
    of_field("parity_tolerance", "1e-4"),
    of_field("retrain_schedule", '"0 4 * * 1"'),
    of_field("score_schedule", '"0 * * * *"', '"0 0 * * *"', '"0 0 * * 1"', "None", '"0 6 * * *"'),
    of_field("score_timezone", '"Europe/Berlin"', '"UTC"'),
    of_field("score_start", "ScoreStart(delay=timedelta(hours=2))"),
    of_field("scoring", "Scoring(shard_rows=10)", 'Scoring(parity="block")', "Scoring(retention=timedelta(days=3))",
             "Scoring(retention=timedelta(days=3), retain_latest=False)",
             "Scoring(retention=timedelta(days=900), retain_latest=False)",
             'Scoring(bounds=(MeanScore(column="value", minimum=0, maximum=1),))'),
    of_field("freshness", "Freshness(champion_max_age=timedelta(days=30))"),
    of_field("approval", "ApprovalPolicy()"),
    of_field("shadow", "Shadow(max_label_flips=0.1)"),
    of_field("target", 'Target(column="outcome", classes=("late", "on_time"))',
             'Target(column="outcome", classes=("on_time", "late"), label_delay=timedelta(days=2))',
             'Target(column="outcome", classes=("on_time", "lost"))'),
    of_code("leaves", "5", "7  # as before", "7"),
    of_code("unused", "2"),
    of_code("docstring", "Build it.", "Other words."),
    of_code("comment", "# tiny", "columns = columns"),
    of_code("max_iter", "25", "20"),
    of_feature(NUMBERS, "minimum", "-5", "1", "10"),
    of_feature(NUMBERS, "maximum", "50", "200", "9_000"),
    of_feature(NUMBERS, "unit", '"g"', '"miles"', '"kg"'),
    of_feature(NUMBERS, "out_of_range", '"ignore"', '"error"'),
    of_feature((*NUMBERS, *TEXTS, "fragile"), "nullable", "True", "False"),
    of_feature(TEXTS, "handle_unknown", '"error"', '"ignore"'),
    of_feature(("carrier",), "categories", '("ant", "bee")', '("ant", "bee", "cat", "dog")', '("cat", "bee", "ant")',
               '("ant", "wasp", "cat")', "()"),
    of_feature(("packing",), "categories", '("hard",)', '("soft", "hard")', '("hard", "smooth")', "()"),
    of_feature(("digit",), "categories", 'tuple("0123456789")', 'tuple("01234")', 'tuple("0123456789x")'),
    remove_feature, add_feature, rename_feature, shuffle_features, shuffle_columns, numbers_as_text, change_expression,
    comment_query, lower_query, add_condition, rename_key, number_key, rename_time, rename_target, rename_classes,
    three_classes, regression, threshold,
)  # fmt: skip
"""Every kind of edit. Some give an invalid declaration together; `read_spec` refuses that before a plan is made."""
