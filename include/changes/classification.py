"""The class of each change: one rule for each field of a declaration.

A rule says what the code does with the changed field. What it cannot see is not guessed: whether another query selects
other rows is measured on a published partition (`Production.rows`), and an estimator's code is only known to be other
code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from include.changes.comparison import ESTIMATOR, FEATURES, QUERY, FieldDifference, FormerDeclaration
from include.inference import request_differences
from include.inference.feature_types import feature_type
from include.records import ChangeEffect, DeclarationChange, PublishedPartition, RowComparison, as_argument
from include.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Production:
    """What is in production of a model, and its two declarations.

    Attributes
    ----------
    version : int
        The champion.
    obstacles : tuple of str
        Why it does not fit the present declaration, see `include.inference.declaration_differences`.
    published : sequence of PublishedPartition
        All published partitions, oldest first.
    off_schedule : sequence of PublishedPartition
        Those that are no partition of the present schedule, and were of the former one.
    expiring : sequence of PublishedPartition
        Those that the present retention removes, and the former one kept.
    table_error : str or None
        Why the present declaration cannot be scored into the score table.
    rows : RowComparison or None
        None: the rows are selected as before, or could not be compared.
    """

    former: FormerDeclaration
    spec: ModelSpec
    version: int
    obstacles: tuple[str, ...]
    published: Sequence[PublishedPartition]
    off_schedule: Sequence[PublishedPartition]
    expiring: Sequence[PublishedPartition]
    table_error: str | None
    rows: RowComparison | None

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.spec.name


Effects = Iterator[ChangeEffect]
Rule = Callable[[Production, FieldDifference], Effects]


def classify(production: Production, differences: Sequence[FieldDifference]) -> tuple[DeclarationChange, ...]:
    """Return what each difference means."""
    return tuple(
        DeclarationChange(
            field=each.field,
            before=each.before_text,
            after=each.after_text,
            effects=tuple(rule_of(each.field)(production, each)),
        )
        for each in differences
    )


def rule_of(field: str) -> Rule:
    """Return the rule of a field: its own, or that of the part of the declaration that it belongs to."""
    return RULES.get(field) or RULES[field.split(".")[0]]


# -- effects ---------------------------------------------------------------------------------------


def _compatible(reason: str) -> Rule:
    def rule(_production: Production, _difference: FieldDifference) -> Effects:
        yield ChangeEffect(change_class="compatible", reason=reason)

    return rule


def _retrain(production: Production, reason: str) -> ChangeEffect:
    model = production.model
    return ChangeEffect(
        change_class="needs_retrain",
        reason=reason,
        next_step=f"train a version with it: `sluice train {model}`, or the DAG retrain_{model}",
    )


def _backfill(production: Production, reason: str) -> ChangeEffect:
    first, last = production.published[0].partition_start, production.published[-1].partition_start
    return ChangeEffect(
        change_class="needs_backfill",
        reason=reason,
        next_step=(
            "to have the published partitions alike, after the promotion of the new version N: "
            f"`sluice backfill {production.model} --from {as_argument(first)} --to {as_argument(last)} "
            "--version N`"
        ),
    )


def _readers(reason: str, next_step: str) -> ChangeEffect:
    return ChangeEffect(change_class="breaks_readers", reason=reason, next_step=next_step)


_ASK_CLIENTS: Final = "agree on the day of the promotion with the clients of the service, or give the model a new name"
_ASK_ANALYSTS: Final = "agree on the change with those who read the scores, or give the model a new name"


def _table_or_response(production: Production, reason: str) -> ChangeEffect:
    """Return the effect of another form of the scores: the score table refuses it, if there is one."""
    if production.table_error is None:
        return _readers(reason, _ASK_CLIENTS)
    return _readers(
        f"{reason}; a score with a version of it is refused: {production.table_error}",
        f"give the changed model a new name; the published scores of {production.model} stay readable",
    )


# -- rules -----------------------------------------------------------------------------------------


def _other_model(what: str) -> Rule:
    def rule(production: Production, _difference: FieldDifference) -> Effects:
        yield _retrain(production, f"{what}; version {production.version} stays as it was trained")

    return rule


def _task(production: Production, _difference: FieldDifference) -> Effects:
    yield _retrain(production, f"version {production.version} answers another task, and scores no partition any more")
    yield _table_or_response(production, "the columns of the scores and the responses of the service are others")


def _key_column(production: Production, _difference: FieldDifference) -> Effects:
    yield _retrain(production, f"version {production.version} has another entity key, and scores no partition any more")
    yield from _rows(production)
    if production.rows is not None and not production.rows.same:
        yield _readers("entity_key holds the values of another column: joins and look-ups by it fail", _ASK_ANALYSTS)


def _key_type(production: Production, _difference: FieldDifference) -> Effects:
    yield _retrain(
        production, f"version {production.version} has another type of key, and scores no partition any more"
    )
    yield _table_or_response(production, "entity_key has another type, in the score table and in look-ups")


def _event_time(production: Production, _difference: FieldDifference) -> Effects:
    yield _retrain(production, f"version {production.version} has another event time, and scores no partition any more")
    yield from _rows(production)


def _rows(production: Production) -> Effects:
    """Yield the effect of other rows, if they are others in the partition that was compared."""
    rows = production.rows
    if rows is not None and not rows.same:
        yield _backfill(
            production,
            f"other rows are scored: of the partition {rows.partition_start:%Y-%m-%d %H:%M} UTC {rows.before:,} before "
            f"and {rows.after:,} now ({rows.only_before:,} only before, {rows.only_after:,} only now)",
        )


def _query(production: Production, _difference: FieldDifference) -> Effects:
    if production.former.query.reads_as(production.spec.query):
        yield from _compatible("only comments, space or upper and lower case differ")(production, _difference)
        return
    rows = production.rows
    same = "" if rows is None or not rows.same else f"; it gives the same {rows.after:,} keys in the newest partition"
    yield _retrain(production, f"version {production.version} is scored by its own query until then{same}")
    yield from _rows(production)


def _target_column(production: Production, _difference: FieldDifference) -> Effects:
    yield _retrain(production, f"version {production.version} predicts the former target")
    if production.published:
        yield _backfill(production, "published scores are predictions of the former target")


def _classes(production: Production, difference: FieldDifference) -> Effects:
    if set(difference.before) == set(difference.after):
        yield _retrain(production, f"version {production.version} keeps its own order of the classes until then")
        yield _readers(
            "class_index in responses, the order of the output `probabilities` in the Open Inference Protocol and the "
            "positive class of a binary model are others; score tables go by the classes' names",
            _ASK_CLIENTS,
        )
        return
    yield _retrain(production, f"version {production.version} has other classes, and scores no partition any more")
    yield _table_or_response(production, "the labels and the columns of the probabilities are others")
    if production.published and production.table_error is None:
        yield _backfill(production, "published rows have the former labels in predicted_label")


def _threshold(production: Production, _difference: FieldDifference) -> Effects:
    yield _retrain(production, f"version {production.version} keeps its own threshold until then")
    if production.published:
        yield _backfill(production, "predicted_label of the published rows follows the former threshold")


def _feature(production: Production, difference: FieldDifference) -> Effects:
    _, _, rest = difference.field.partition(".")
    name, _, part = rest.partition(".")
    former = {each.name: each for each in production.former.signature.features}
    present = {each.name: each for each in production.spec.features}
    kept = name in former and name in present and part != "kind"
    if kept and feature_type(former[name]).is_learned_from(present[name]):
        yield from _compatible(f"version {production.version} was trained with the same")(production, difference)
        return
    refused = next((each for each in production.obstacles if f"feature '{name}' " in each), None)
    if refused is None:
        yield _retrain(production, f"version {production.version} keeps its own until then")
    else:
        yield _retrain(production, f"version {production.version} scores no partition any more: {refused}")
    reader = _reader_difference(production, name, part, difference)
    if reader is not None:
        yield _readers(f"of the service: {reader}", _ASK_CLIENTS)


def _reader_difference(production: Production, name: str, part: str, difference: FieldDifference) -> str | None:
    """Return what clients would find because of this part of the feature; None: nothing."""
    signature = production.former.signature
    whole = request_differences(signature, production.spec.features).get(name)
    if whole is None or not part or part == "kind":
        return whole
    alone = []
    for each in signature.features:
        changed = tuple(difference.after) if isinstance(difference.after, list) else difference.after
        alone.append(each.model_copy(update={part: changed}) if each.name == name else each)
    return request_differences(signature, alone).get(name)


def _feature_order(production: Production, _difference: FieldDifference) -> Effects:
    yield _retrain(production, f"version {production.version} keeps its own order until then")
    found = request_differences(production.former.signature, production.spec.features).get("")
    if found is not None:
        yield _readers(f"of the service: {found}", _ASK_CLIENTS)


def _features(production: Production, difference: FieldDifference) -> Effects:
    return (_feature if "." in difference.field else _feature_order)(production, difference)


def _schedule(production: Production, _difference: FieldDifference) -> Effects:
    off = production.off_schedule
    if not off:
        yield from _compatible("every published partition is one of the new schedule, too")(production, _difference)
        return
    model, first = production.model, off[0].partition_start
    yield ChangeEffect(
        change_class="needs_backfill",
        reason=f"{len(off):,} published partition(s) are none of the new schedule, the first from "
        f"{first:%Y-%m-%d %H:%M} UTC: they stay, and no partition that overlaps one of them is scored",
        next_step=f"remove them (`sluice drop-partition {model} --partition {as_argument(first)} --reason ...`), "
        f"then `sluice backfill {model}`",
    )


def _retention(production: Production, _difference: FieldDifference) -> Effects:
    expiring = production.expiring
    if not expiring:
        yield from _compatible("no published partition is removed because of it")(production, _difference)
        return
    yield _readers(
        f"the next run of housekeeping removes {len(expiring):,} published partition(s), up to "
        f"{expiring[-1].partition_end:%Y-%m-%d %H:%M} UTC",
        "copy what is still needed, or keep a longer retention",
    )


_SHOWN = _compatible("it is shown to people, and changes no score")
_NEXT_CANDIDATE = _compatible("the next candidate must meet it; the champion stays")
_NEXT_SCORE = _compatible("it holds from the next score on, and changes no score")
_NEXT_RUN = _compatible("it holds from the next run of the DAG on, and changes no score")

RULES: Final[dict[str, Rule]] = {
    "name": _compatible("the model has another name"),
    "task": _task,
    "description": _SHOWN,
    "owner": _SHOWN,
    "source": _SHOWN,
    "tags": _SHOWN,
    "entity_key.column": _key_column,
    "entity_key.type": _key_type,
    "event_time": _event_time,
    FEATURES: _features,
    "target.column": _target_column,
    "target.classes": _classes,
    "target.label_delay": _other_model("other rows have a known label"),
    ESTIMATOR: _other_model("another estimator is trained"),
    "window": _other_model("the training rows are others"),
    "seed": _other_model("another model is trained from the same rows"),
    "contract.training_rows": _NEXT_CANDIDATE,
    "contract.freshness": _NEXT_CANDIDATE,
    "contract.partition_rows": _NEXT_SCORE,
    "decision_threshold": _threshold,
    "gates": _NEXT_CANDIDATE,
    "evaluation": _NEXT_CANDIDATE,
    "parity_tolerance": _NEXT_CANDIDATE,
    "reproducible": _NEXT_CANDIDATE,
    "approval": _NEXT_CANDIDATE,
    "shadow": _NEXT_SCORE,
    "retrain_schedule": _NEXT_RUN,
    "score_schedule": _schedule,
    "score_timezone": _schedule,
    "score_start": _NEXT_RUN,
    "freshness": _compatible("the watcher expects scores, champions, labels and approvals by it at its next look"),
    "alert_channels": _NEXT_RUN,
    "scoring": _NEXT_SCORE,
    "scoring.retention": _retention,
    "scoring.retain_latest": _retention,
    QUERY: _query,
}
"""By a field, or by the part of the declaration of which all fields have the same rule."""
