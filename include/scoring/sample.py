"""Sampled online requests, read from the prediction log and predicted again by a challenger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, text

from include.errors import ChallengerIncompatibleError, RowsRejectedError
from include.inference import ModelSignature, RowEncoder, Scorer, by_classes, compute_divergence
from include.records import ShadowDivergence
from include.scoring.shadow_scores import store_divergence
from include.scoring.tables import advisory_lock
from include.service_client import scores_of

MIN_ROWS: Final = 100
MAX_ROWS: Final = 50_000
LATE: Final = timedelta(days=1)
# After an outage of the database, rows are logged late. So the last day is read again, and the key of shadow_sample
# prevents that a row counts twice. The rows are locked, so that the log does not delete them meanwhile.
_UNSEEN: Final = text("""
    SELECT id, predicted_at, inputs, outputs FROM sluice.prediction_log AS logged
    WHERE model = :model AND version = :champion AND predicted_at >= coalesce(
        (SELECT max(sampled_to) - :late FROM sluice.shadow_divergence
         WHERE model = :model AND version = :version AND champion_version = :champion AND source = 'online'),
        '-infinity')
      AND NOT EXISTS (SELECT FROM sluice.shadow_sample WHERE prediction_id = logged.id AND version = :version)
    ORDER BY id LIMIT :limit FOR KEY SHARE OF logged
""")
_SEEN: Final = text("""
    INSERT INTO sluice.shadow_sample (prediction_id, version, divergence_id)
    SELECT unnest(CAST(:ids AS bigint[])), :version, :divergence
""")


class ComparedVersion(NamedTuple):
    """A loaded version."""

    version: int
    scorer: Scorer

    @property
    def signature(self) -> ModelSignature:
        """Its inputs and outputs."""
        return self.scorer.signature


def measure_sample(
    engine: Engine, champion: ComparedVersion, challenger: ComparedVersion, run_id: str, *, min_rows: int = MIN_ROWS
) -> ShadowDivergence | None:
    """Compare a challenger's predictions for sampled requests with those that clients received; store the divergence.

    Each logged row counts once for a challenger, even if two comparisons run at the same time. With fewer than
    `min_rows` rows nothing is measured, and None is returned.

    Parameters
    ----------
    champion : ComparedVersion
        The version whose logged predictions are compared; its signature gives the order of the inputs.

    Raises
    ------
    ChallengerIncompatibleError
        When the challenger has another task or other classes, needs features that these requests do not contain, or
        rejects every row.
    """
    model = challenger.signature.model
    _require_compatible(champion, challenger)
    with engine.begin() as connection:
        advisory_lock(connection, f"sluice.shadow_sample.{model}")
        logged = _unseen(connection, model, champion.version, challenger.version)
        if len(logged) < min_rows:
            return None
        rows = [_chosen(each.inputs, champion.signature, challenger.signature) for each in logged]
        answered, matrix = _encoded(rows, challenger)
        theirs = _scores([each.outputs for each in logged], champion.signature)[answered]
        ours, labels = by_classes(challenger.signature, challenger.scorer.score(matrix), champion.signature.classes)
        flipped = None if labels is None else np.asarray(champion.signature.labels(theirs) != labels)
        measured = ShadowDivergence(
            model=model,
            version=challenger.version,
            champion_version=champion.version,
            source="online",
            sampled_from=min(each.predicted_at for each in logged),
            sampled_to=max(each.predicted_at for each in logged),
            row_count=len(matrix),
            refused_rows=len(logged) - len(matrix),
            run_id=run_id,
            **compute_divergence(theirs, ours, flipped=flipped).model_dump(),
        )
        row = {"ids": [each.id for each in logged], "version": challenger.version}
        connection.execute(_SEEN, row | {"divergence": store_divergence(connection, measured)})
    return measured


def _unseen(connection: Connection, model: str, champion: int, challenger: int) -> Sequence[Row[Any]]:
    values = {"model": model, "champion": champion, "version": challenger, "late": LATE, "limit": MAX_ROWS}
    return connection.execute(_UNSEEN, values).all()


def _require_compatible(champion: ComparedVersion, challenger: ComparedVersion) -> None:
    theirs, ours = champion.signature, challenger.signature
    why = None
    if (theirs.task, set(theirs.classes)) != (ours.task, set(ours.classes)):
        why = f"its task or classes differ from those of champion {champion.version}"
    elif missing := [name for name in ours.names if name not in theirs.names]:
        why = f"it needs {', '.join(missing)}, which requests to champion {champion.version} do not contain"
    if why is not None:
        raise ChallengerIncompatibleError(ours.model, challenger.version, why)


def _chosen(inputs: Any, champion: ModelSignature, challenger: ModelSignature) -> dict[str, Any]:
    """Return the features of the challenger by name; a list is in the champion's order."""
    by_name = inputs if isinstance(inputs, dict) else dict(zip(champion.names, inputs, strict=True))
    return {name: by_name[name] for name in challenger.names}


def _encoded(rows: list[dict[str, Any]], challenger: ComparedVersion) -> tuple[list[int], NDArray[np.float32]]:
    """Encode as the service does; return the positions of the accepted rows, and their matrix."""
    encoder = RowEncoder(challenger.signature)
    try:
        return list(range(len(rows))), encoder.encode(rows)
    except RowsRejectedError as error:
        first = str(error)
    taken = {}
    for position, row in enumerate(rows):
        try:
            taken[position] = encoder.encode_one(row)
        except RowsRejectedError:
            continue
    if not taken:
        why = f"it rejects all {len(rows):,} rows: {first[:300]}"
        raise ChallengerIncompatibleError(challenger.signature.model, challenger.version, why)
    return list(taken), np.concatenate(list(taken.values()))


def _scores(outputs: Sequence[dict[str, Any]], signature: ModelSignature) -> NDArray[np.float64]:
    """Return the logged predictions, shape (n, n_outputs)."""
    return np.array([scores_of(each, signature.classes) for each in outputs], np.float64)
