"""The page that each DAG shows in the Airflow UI, written from the model's declaration."""

from __future__ import annotations

from collections.abc import Sequence

from include.spec import Bound, Feature, Gate, ModelSpec, Scoring

RETRAIN = """\
# Retrain {name}

{description}

{facts}

## What a run does
1. **validate**: the data contract is held against the training window. Broken: the run stops, nothing is trained.
2. **snapshot**: the rows are frozen in one Parquet file; its digest names them.
3. **train**: the estimator of `spec.py`, and a simple baseline, on the older part.
4. **export**: to ONNX (what is served) and joblib (for people).
5. **parity**: ONNX must answer as scikit-learn does, on the whole holdout.
   **reproduce**, in models declared `reproducible`: trained once more, the bytes must be the same.
6. **evaluate**: candidate, champion and baseline on the same holdout, which is later than the training rows.
7. **rehearse**: the online service itself is started on the candidate alone, on loopback: it must get ready, answer
   the golden rows bit for bit and refuse malformed requests; its p99 and memory under a short load are measured.
8. **gate**: the gates below decide. Accepted or not, the version is registered with the reasons, signed, with its
   evidence and a model card, to which the task's button *Model card* leads: `/sluice/cards/{name}/<version>`.
9. **approve**, if the declaration asks for it: a person other than who triggered the run says yes, seeing the evidence.
10. **promote**: an accepted version becomes the champion, and the service picks it up.
   A rejected one leaves this task *skipped*: its log has the reasons, the champion stays.

The rows end at the run's logical date (or the time it was triggered), so clearing a run and running it again
makes no second version.

## Window
Training: {train}. Then a gap of {gap}. Then the holdout: {holdout}, which ends the window.

{features}

{gates}

{rollback}
"""

SCORE = """\
# Score {name}

{description}

{facts}

## What a run does
1. **validate**: the data contract is held against the partition. Broken: the run stops, published rows stay.
2. **plan**: which version scores, and in how many shards: one for every {shard_rows:,} rows.
3. **score**: each shard, a mapped task, is read, scored and written into a staging table at the same time.
4. **publish**: the shards must hold the validated rows, each key once, with scores in their bounds ({bounds}). Then one
   transaction makes them the partition that analysts read, with its row in `sluice.partition_publication`. Refused, the
   former rows stay.
5. **check_online_parity**: {parity}

A newer run for the same partition replaces an older one, which ends as *fenced*.

A partition is one interval of the schedule `{schedule}` (UTC). Running it again gives the same rows once.

## The past
*Trigger, Backfill* in this UI, or
`airflow backfill create --dag-id score_{name} --from-date 2026-01-01 --to-date 2026-01-07`:
each partition is scored by a run of its own, with the version that was champion when the partition ended. To have one
version score them all, give the backfill a `model_version` in its configuration (`--dag-run-conf`). The ledger
says which it was: `mode` in `sluice.partition_publication`. Without Airflow: `sluice backfill {name} --from 2026-01-01
--to 2026-01-07`. For a single partition, trigger the DAG and fill in `partition`: the champion of now scores it.

## What follows
The asset `sluice://{name}/scores` has an event for each published partition, with its start as the partition key. A DAG
with `schedule=PartitionedAssetTimetable(assets=Asset(name="{name}_scores", uri="sluice://{name}/scores"))` runs once a
partition.

## Reading the scores
```sql
SELECT * FROM scores.{name}_latest LIMIT 10;   -- the newest row of each {key}
SELECT * FROM scores.{name} WHERE partition_start = '2026-01-01';
```

{features}

{rollback}
"""

ROLLBACK = """\
## Rolling back
Trigger `operate_model` with model `{name}`, the version to go back to, and the reason; or, in a shell,
`sluice rollback {name} --reason "why"`. `sluice history {name}` lists who promoted what, when and why.
"""

OPERATE = """\
# Move a champion by hand

Makes a version the champion of its model: a promotion, or a rollback when the version is an older one.
*Trigger* opens the form: the model, the version, and the reason, which the ledger keeps for good.

- A version that does not exist fails the run, and the error lists those that do.
- Should somebody else move the champion at the same moment, one of the two fails and names the winner.
- The service serves the new champion within a second. Published scores keep the version that made them.

Look at `sluice history MODEL`, or in SQL: `SELECT * FROM sluice.champion;`
"""

HOUSEKEEPING = """\
# Housekeeping

- **resend_alerts**: alerts of the last day that a channel did not take are sent again.
- **remove_old_work**: what runs older than {days} days passed between their tasks is removed.
  Registered artifacts and the ledger are never touched.
- **clean_staging**: tables in schema `staging` that no attempt at a partition will publish any more are dropped.
- **drop_expired_partitions**: score partitions older than `Scoring(retention=...)` are removed, but for those that hold
  some key's newest score; `sluice.partition_removal` keeps which, and why. What a long query reads goes the next time.
- **shadow_requests**, where a model declares a `Shadow`: the online requests that the service sampled since the last
  look are answered again by its challenger, and how far it is from the champion is stored.
"""


def retrain_page(spec: ModelSpec) -> str:
    """Return the page of ``retrain_<model>``."""
    return RETRAIN.format(
        name=spec.name,
        description=spec.description,
        facts=_facts(spec, spec.retrain_schedule),
        train=_length(spec.window.train.total_seconds()),
        gap=_length(spec.window.gap.total_seconds()),
        holdout=_length(spec.window.holdout.total_seconds()),
        features=_features(spec.features),
        gates=_gates(spec.policy),
        rollback=ROLLBACK.format(name=spec.name),
    )


def score_page(spec: ModelSpec) -> str:
    """Return the page of ``score_<model>``."""
    return SCORE.format(
        name=spec.name,
        description=spec.description,
        facts=_facts(spec, spec.score_schedule),
        schedule=spec.score_schedule or "none: by hand only, a whole day each",
        key=spec.entity_key.column,
        parity=_parity(spec.scoring),
        shard_rows=spec.scoring.shard_rows,
        bounds=", ".join(bound_sentence(bound) for bound in spec.scoring.bounds) or "none declared",
        features=_features(spec.features),
        rollback=ROLLBACK.format(name=spec.name),
    )


def sentence_of(gate: Gate) -> str:
    """Return what a gate asks for."""
    return gate.requirement


def bound_sentence(bound: Bound) -> str:
    """Return what a bound of scoring asks for."""
    what = f"mean of {bound.column}" if bound.kind == "mean_score" else f"share of '{bound.label}'"
    return f"{what} from {bound.minimum:g} to {bound.maximum:g}"


def _parity(scoring: Scoring) -> str:
    if scoring.parity == "off":
        return "not asked for."
    asked = f"the running service is asked about {scoring.parity_rows} of the rows with the version that scored them, "
    apart = "the very same numbers" if scoring.parity_ulp == 0 else f"numbers within {scoring.parity_ulp} ulp"
    when = "before **publish**, which otherwise fails" if scoring.parity == "block" else "or an alert is raised"
    return f"{asked}and must answer {apart}, {when}. `sluice.parity_check` keeps what was found."


def _facts(spec: ModelSpec, schedule: str | None) -> str:
    rows = [
        ("Owner", spec.owner),
        ("Task", spec.task),
        ("Source", f"`{spec.source}`"),
        ("Key", f"`{spec.entity_key.column}` ({spec.entity_key.type})"),
        ("Target", f"`{spec.target.column}`" + (f": {', '.join(spec.target.classes)}" if spec.target.classes else "")),
        ("Schedule (UTC)", f"`{schedule}`" if schedule else "by hand only"),
        ("Alerts to", ", ".join(spec.alert_channels) or "the default channel, `sluice.alert` and the alert log"),
    ]
    return _table(("", ""), rows)


def _features(features: tuple[Feature, ...]) -> str:
    rows = [
        (f"`{each.name}`", each.kind, _allowed(each), "allowed" if each.nullable else "not allowed")
        for each in features
    ]
    return f"## Features\n{_table(('Name', 'Kind', 'Values', 'Missing'), rows)}"


def _allowed(feature: Feature) -> str:
    if feature.kind == "numeric":
        return f"{feature.minimum:g} to {feature.maximum:g} {feature.unit}".strip()
    if feature.kind == "categorical":
        return ", ".join(feature.categories) or "learned from the training rows"
    return "true, false"


def _gates(gates: tuple[Gate, ...]) -> str:
    return "## Gates\nA candidate is accepted when\n\n" + "\n".join(f"- {sentence_of(gate)}" for gate in gates)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _length(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}{'' if seconds == size else 's'}"
    return f"{seconds:g} seconds" if seconds else "nothing"
