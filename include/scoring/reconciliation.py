"""The decision whether staged shards may be published, from their records alone."""

from __future__ import annotations

from collections.abc import Sequence

from include.errors import ReconciliationError, ScoreBoundsError
from include.records import ScorePlan, StagedShard
from include.spec import ClassShare, MeanScore, ModelSpec


def reconcile(spec: ModelSpec, plan: ScorePlan, staged: Sequence[StagedShard]) -> None:
    """Raise unless every shard exists once, they hold the validated rows, and their scores are within the bounds.

    Raises
    ------
    ReconciliationError
        The message names the shards or the counts.
    ScoreBoundsError
        The message names each broken bound and the found value.
    """
    found = sorted(shard.shard for shard in staged)
    if found != list(range(plan.shards)):
        raise ReconciliationError(
            f"model '{plan.model}', partition {plan.period}: expected the shards 0 to {plan.shards - 1}, each once; "
            f"found {found}. Nothing was published, the former rows stay: run the missing shards again."
        )
    scored = sum(shard.row_count for shard in staged)
    if scored != plan.rows:
        raise ReconciliationError(
            f"model '{plan.model}', partition {plan.period}: expected the {plan.rows:,} rows that were validated; "
            f"scored {scored:,}. Nothing was published, the former rows stay. The source changed meanwhile: "
            "run again from `validate`."
        )
    reasons = broken_bounds(spec, staged)
    if reasons:
        raise ScoreBoundsError(plan.model, str(plan.period), reasons)


def broken_bounds(spec: ModelSpec, staged: Sequence[StagedShard]) -> list[str]:
    """Return a sentence for each declared bound that the scores of all shards break.

    A partition without rows breaks none.
    """
    rows = sum(shard.row_count for shard in staged)
    sentences = []
    for bound in spec.scoring.bounds if rows else ():
        match bound:
            case MeanScore():
                found = sum(shard.score_sums[bound.column] for shard in staged) / rows
                what = f"the mean of {bound.column}"
            case ClassShare():
                found = sum(shard.label_counts[bound.label] for shard in staged) / rows
                what = f"the share of rows predicted '{bound.label}'"
        if not bound.minimum <= found <= bound.maximum:
            sentences.append(f"{what} must be from {bound.minimum:g} to {bound.maximum:g}; found {found:.4g}")
    return sentences
