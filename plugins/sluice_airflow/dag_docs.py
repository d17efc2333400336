"""The documentation of each DAG in the Airflow UI, written from the model's declaration."""

from __future__ import annotations

from collections.abc import Sequence

from include.spec import Bound, Feature, Gate, ModelSpec, ScoreStart, Scoring
from include.spec.freshness import MAX_SCORE_MARGIN, MIN_SCORE_MARGIN

RETRAIN = """\
# Retrain {name}

{description}

{properties}

## What a run does
1. **validate**: checks the training window against the data contract. If a check fails, the run stops before training.
2. **snapshot**: writes the rows to one Parquet file, named by its digest.
3. **train**: fits the estimator of `spec.py`, and a simple baseline, on the older part of the rows.
4. **export**: writes ONNX (for serving) and joblib (for people).
5. **parity**: ONNX and scikit-learn must predict the same on the whole holdout.
   **reproduce**, only for models declared `reproducible`: trains a second time; the bytes must be the same.
6. **evaluate**: measures candidate, champion and baseline on the same holdout, later than the training rows.
7. **rehearse**: starts the real online service with only the candidate, on loopback. It must become ready, predict the
   golden rows bit for bit and reject malformed requests. Its p99 latency and memory under a short load are measured.
8. **gate**: the gates below decide. Accepted or rejected, the version is registered with the reasons, its evidence and
   a model card, all signed. The task's button *Model card* opens the card: `/sluice/cards/{name}/<version>`.
9. **approve**, only if declared: a person who did not trigger the run reads the evidence and approves.
10. **promote**: an accepted version becomes the champion, and the service loads it.
   This task is *skipped*, its log has the reasons and the champion stays: for a rejected version, while promotions are
   held (`sluice hold`), and when the data of the version end before those of the champion. For the last, the form has a
   field that promotes it all the same.

The rows end at the run's logical date (or at the time when it was triggered), so a run that is cleared and run again
makes no second version. Nor does another run of the same rows, declaration, code and libraries: **snapshot** is then
*skipped*, and its log names the version. A run keeps the declaration that it began with: if `spec.py` or `features.sql`
is edited meanwhile, its next task fails.

## Window
Training: {train}. Then a gap of {gap}. Then the holdout: {holdout}, which ends the window.

## Deadlines
{deadlines}

{features}

{gates}

{rollback}
"""

SCORE = """\
# Score {name}

{description}

{properties}

## What a run does
{wait}1. **validate**: chooses the version that scores, and checks the partition, read by the version's own query,
   against the data contract. If a check fails, the run stops; published rows stay.
2. **plan**: chooses the number of shards: one for every {shard_rows:,} rows.
3. **score**: one mapped task for each shard reads, scores and writes its rows into a staging table.
4. **publish**: the shards must hold the validated rows, each key once, with scores within the bounds ({bounds}).
   Then one transaction makes them the partition that analysts read, with its row in
   `sluice.partition_publication`. Otherwise the task fails and the former rows stay.
5. **check_online_parity**: {parity}
6. **late_rows**: {late_rows}

A newer run for the same partition replaces an older one, which fails as *fenced*.

A partition is one interval of the schedule `{schedule}` ({timezone}). Running it again gives the same rows once.
A run of any other interval is refused.

## Deadline
{deadline} What is later is reported by `sluice status`, also when no run was ever made.

## The past
*Trigger, Backfill* in this UI, or
`airflow backfill create --dag-id score_{name} --from-date 2026-01-01 --to-date 2026-01-07`:
each partition is scored by a separate run, with the version that was champion when the partition ended. To score all
with one version, set `model_version` in the backfill's configuration (`--dag-run-conf`). The ledger records how the
version was chosen: `mode` in `sluice.partition_publication`. Without Airflow: `sluice backfill {name} --from 2026-01-01
--to 2026-01-07`. For a single partition, trigger the DAG and fill in `partition`: the present champion scores it.

## What follows
The asset `sluice://{name}/scores` gets an event for each published partition, with its start as the partition key.
A DAG with `schedule=PartitionedAssetTimetable(assets=Asset(name="{name}_scores", uri="sluice://{name}/scores"))` runs
once for each partition.

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
Trigger `operate_model` with model `{name}`, the earlier version and the reason. Or run in a shell:
`sluice rollback {name} --reason "why"`. `sluice history {name}` lists who promoted what, when and why.
A rollback holds promotions: no retrain promotes a version until `sluice hold {name} --lift --reason "why"`.
"""

OPERATE = """\
# Move a champion by hand

Makes a version the champion of its model: a promotion, or a rollback when the version is an earlier champion.
*Trigger* opens the form: the model, the version, and the reason, which the ledger keeps permanently.

- If the version does not exist, the run fails, and the error lists the existing versions.
- If gates rejected the version, the run fails and names them, unless the form's last field is checked.
- If somebody else moves the champion at the same moment, one of the two runs fails and names the winner.
- A rollback holds promotions from then on: retrains register and judge versions, and promote none, until you lift the
  hold. The field *Action* sets a hold without a rollback, with an end if you name one, and lifts it.
- A promotion by this form goes ahead although promotions are held, or the data of the version are older.
- The service serves the new champion within a second. Published scores keep the version that scored them.

See `sluice history MODEL`, or in SQL: `SELECT * FROM sluice.champion;`
"""

HOUSEKEEPING = """\
# Housekeeping

- **deliver_alerts**: opens the incidents of what the online service has reported, and sends the messages that are due.
- **remove_old_work**: removes the work folders of runs older than {days} days.
  Registered artifacts and the ledger are never touched.
- **clean_staging**: drops the tables in schema `staging` that no attempt will publish.
- **drop_expired_partitions**: removes score partitions older than `Scoring(retention=...)`, except those that hold the
  newest score of a key. `sluice.partition_removal` records which, and why. A partition that a long query reads is
  removed by the next run.
- **shadow_requests**, only for models that declare a `Shadow`: the challenger predicts the online requests sampled
  since the last run, and its divergence from the champion is stored.
"""


def retrain_page(spec: ModelSpec) -> str:
    """Return the page of ``retrain_<model>``."""
    return RETRAIN.format(
        name=spec.name,
        description=spec.description,
        properties=_properties(spec, spec.retrain_schedule),
        train=_length(spec.window.train.total_seconds()),
        gap=_length(spec.window.gap.total_seconds()),
        holdout=_length(spec.window.holdout.total_seconds()),
        deadlines=_champion_deadlines(spec),
        features=_features(spec.features),
        gates=_gates(spec.policy),
        rollback=ROLLBACK.format(name=spec.name),
    )


def score_page(spec: ModelSpec) -> str:
    """Return the page of ``score_<model>``."""
    return SCORE.format(
        name=spec.name,
        description=spec.description,
        properties=_properties(spec, spec.score_schedule),
        schedule=spec.score_schedule or "none: manual runs only, one whole day each",
        timezone=spec.score_timezone,
        wait=_wait(spec.score_start),
        deadline=_score_deadline(spec),
        key=spec.entity_key.column,
        parity=_parity(spec.scoring),
        late_rows=_late_rows(spec.scoring),
        shard_rows=spec.scoring.shard_rows,
        bounds=", ".join(bound_sentence(bound) for bound in spec.scoring.bounds) or "none declared",
        features=_features(spec.features),
        rollback=ROLLBACK.format(name=spec.name),
    )


def _score_deadline(spec: ModelSpec) -> str:
    """Return until when a partition is expected, see `Freshness.scores_by`."""
    scores_by = spec.freshness.scores_by
    if spec.score_schedule is None:
        return "No schedule, so no partition is expected."
    if isinstance(scores_by, str):
        return f"A partition is published by the first {scores_by} ({spec.score_timezone}) after its end."
    if scores_by is not None:
        return f"A partition is published within {_length(scores_by.total_seconds())} after its end."
    least, most = (_length(each.total_seconds()) for each in (MIN_SCORE_MARGIN, MAX_SCORE_MARGIN))
    after = _length(spec.score_start.longest.total_seconds())
    begin = f"its latest start, {after} after its end" if spec.score_start.longest else "its end"
    return f"A partition is published within half its length, but {least} to {most}, after {begin}."


def _champion_deadlines(spec: ModelSpec) -> str:
    """Return the limits of `Freshness` that are about versions."""
    limits = []
    if spec.champion_max_age is not None:
        limits.append(f"- The data of the champion are at most {_length(spec.champion_max_age.total_seconds())} old.")
    if spec.freshness.labels_by is not None:
        limits.append(f"- Labels come within {_length(spec.freshness.labels_by.total_seconds())} after the event.")
    if spec.approval is not None:
        limits.append(f"- A version is approved within {_length(spec.approval_within.total_seconds())}.")
    limits.append(f"- At most {spec.freshness.rejected_in_a_row - 1} candidates in a row are rejected.")
    return "\n".join(limits) + "\n\nWhat is over a limit is reported by `sluice status`."


def bound_sentence(bound: Bound) -> str:
    """Return a bound of scoring as text."""
    what = f"mean of {bound.column}" if bound.kind == "mean_score" else f"share of '{bound.label}'"
    return f"{what} from {bound.minimum:g} to {bound.maximum:g}"


def _wait(start: ScoreStart) -> str:
    """Return the first step of a run, with the line's end; nothing for a model whose runs start at once."""
    if not start.longest:
        return ""
    conditions = [f"{_length(start.delay.total_seconds())} after the end of its partition"] if start.delay else []
    if start.asset:
        conditions.append(f"when an event of the asset `{start.asset}` says that the source is complete")
    if start.contract_holds:
        conditions.append("when the rows of the partition meet the data contract")
    text = f"0. **wait**: a scheduled run starts {', and '.join(conditions)}."
    if start.deadline is not None:
        every, until = (_length(each.total_seconds()) for each in (start.poll_interval, start.deadline))
        text += f" It looks every {every}, until {until} after the end of the partition."
        text += " Without the event, it then fails." if start.asset else ""
        text += " The rows are then validated for good." if start.contract_holds else ""
    return f"{text} Runs by hand and backfills start at once. A run that waits takes no worker.\n"


def _late_rows(scoring: Scoring) -> str:
    if scoring.late_rows == "ignore":
        return "not declared: nothing is compared"
    done = "scored again" if scoring.late_rows == "rescore" else "reported in an alert"
    window = _length(scoring.late_rows_window.total_seconds())
    return (
        f"the partitions of the {window} before are compared with their source; those with other rows now are {done}."
    )


def _parity(scoring: Scoring) -> str:
    if scoring.parity == "off":
        return "not declared."
    check = f"the running service predicts {scoring.parity_rows} of the rows with the version that scored them, "
    apart = "exactly the same numbers" if scoring.parity_ulp == 0 else f"numbers within {scoring.parity_ulp} ulp"
    when = "before **publish**, which otherwise fails" if scoring.parity == "block" else "or an alert is raised"
    return f"{check}and must return {apart}, {when}. The result is stored in `sluice.parity_check`."


def _properties(spec: ModelSpec, schedule: str | None) -> str:
    rows = [
        ("Owner", spec.owner),
        ("Task", spec.task),
        ("Source", f"`{spec.source}`"),
        ("Key", f"`{spec.entity_key.column}` ({spec.entity_key.type})"),
        ("Target", f"`{spec.target.column}`" + (f": {', '.join(spec.target.classes)}" if spec.target.classes else "")),
        ("Schedule (UTC)", f"`{schedule}`" if schedule else "manual runs only"),
        ("Alerts to", ", ".join(spec.alert_channels) or "the default channel, `sluice.alert` and the alert log"),
    ]
    return _table(("", ""), rows)


def _features(features: tuple[Feature, ...]) -> str:
    rows = [
        (f"`{each.name}`", each.kind, each.describe_values(), "allowed" if each.nullable else "not allowed")
        for each in features
    ]
    return f"## Features\n{_table(('Name', 'Kind', 'Values', 'Missing'), rows)}"


def _gates(gates: tuple[Gate, ...]) -> str:
    return "## Gates\nA candidate is accepted when\n\n" + "\n".join(f"- {gate.requirement}" for gate in gates)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _length(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}{'' if seconds == size else 's'}"
    return f"{seconds:g} seconds" if seconds else "nothing"
