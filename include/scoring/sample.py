"""Requests that the service sampled, answered again by a challenger: from the log, with nothing added to a request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, text

from include.errors import ChallengerIncompatibleError, RowsRejectedError
from include.inference import ModelSignature, RowEncoder, Scorer, compute_divergence
from include.records import ShadowDivergence
from include.scoring.shadow_scores import store_divergence
from include.scoring.tables import advisory_lock
from include.service_client import scores_of

MIN_ROWS: Final = 100
MAX_ROWS: Final = 50_000
LATE: Final = timedelta(days=1)
# Rows come late when the database was away from the service. So a day is looked at again, and what keeps a row
# from counting twice is the key of shadow_sample. Locked, so that the log does not forget a row meanwhile.
_UNSEEN: Final = text("""
    SELECT id, predicted_at, inputs, outputs FROM sluice.prediction_log AS logged
    WHERE model = :model AND version = :champion AND predicted_at >= coalesce(
        (SELECT max(sampled_to) - :late FROM sluice.shadow_divergence
         WHERE model = :model AND version = :version AND champion_version = :champion AND source = 'online'),
        '-infinity')
      AND NOT EXISTS (SELECT FROM sluice.shadow_sample WHERE prediction_id = logged.id AND version = :version)
    ORDER BY id LIMIT :most FOR KEY SHARE OF logged
""")
_SEEN: Final = text("""
    INSERT INTO sluice.shadow_sample (prediction_id, version, divergence_id)
    SELECT unnest(CAST(:ids AS bigint[])), :version, :divergence
""")


class ComparedVersion(NamedTuple):
    """A version, loaded."""

    version: int
    scorer: Scorer

    @property
    def signature(self) -> ModelSignature:
        """What it takes and answers."""
        return self.scorer.signature


def measure_sample(
    engine: Engine, champion: ComparedVersion, challenger: ComparedVersion, run_id: str, *, fewest: int = MIN_ROWS
) -> ShadowDivergence | None:
    """Hold a challenger's answers to sampled requests against those that clients got, and store the figures.

    Each logged row counts once for a challenger, whatever runs at the same time. Fewer than `fewest` rows say
    little: None, and they wait for more.

    Parameters
    ----------
    champion : ComparedVersion
        Whose logged answers are taken, as clients got them; its signature says the order of their inputs.

    Raises
    ------
    ChallengerIncompatibleError
        When the challenger answers another question, needs features that these requests have not, or refuses
        every row.
    """
    model = challenger.signature.model
    _require_same_question(champion, challenger)
    with engine.begin() as connection:
        advisory_lock(connection, f"sluice.shadow_sample.{model}")
        logged = _unseen(connection, model, champion.version, challenger.version)
        if len(logged) < fewest:
            return None
        rows = [_chosen(each.inputs, champion.signature, challenger.signature) for each in logged]
        answered, matrix = _encoded(rows, challenger)
        theirs = _scores([each.outputs for each in logged], champion.signature)[answered]
        ours = challenger.scorer.score(matrix)
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
            **compute_divergence(theirs, ours, classes=bool(champion.signature.classes)).model_dump(),
        )
        row = {"ids": [each.id for each in logged], "version": challenger.version}
        connection.execute(_SEEN, row | {"divergence": store_divergence(connection, measured)})
    return measured


def _unseen(connection: Connection, model: str, champion: int, challenger: int) -> Sequence[Row[Any]]:
    values = {"model": model, "champion": champion, "version": challenger, "late": LATE, "most": MAX_ROWS}
    return connection.execute(_UNSEEN, values).all()


def _require_same_question(champion: ComparedVersion, challenger: ComparedVersion) -> None:
    asked, answering = champion.signature, challenger.signature
    why = None
    if (asked.task, asked.classes) != (answering.task, answering.classes):
        why = f"it answers another question than champion {champion.version}: task or classes differ"
    elif missing := [name for name in answering.names if name not in asked.names]:
        why = f"it needs {', '.join(missing)}, which requests to champion {champion.version} do not have"
    if why is not None:
        raise ChallengerIncompatibleError(answering.model, challenger.version, why)


def _chosen(inputs: Any, asked: ModelSignature, answering: ModelSignature) -> dict[str, Any]:
    """Return the features that the challenger takes, by name: a list is in the champion's order."""
    by_name = inputs if isinstance(inputs, dict) else dict(zip(asked.names, inputs, strict=True))
    return {name: by_name[name] for name in answering.names}


def _encoded(rows: list[dict[str, Any]], challenger: ComparedVersion) -> tuple[list[int], NDArray[np.float32]]:
    """Encode as the service does; return which rows were taken, and their matrix."""
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
        why = f"it refuses all {len(rows):,} rows: {first[:300]}"
        raise ChallengerIncompatibleError(challenger.signature.model, challenger.version, why)
    return list(taken), np.concatenate(list(taken.values()))


def _scores(outputs: Sequence[dict[str, Any]], signature: ModelSignature) -> NDArray[np.float64]:
    """Return the answers as they were given, shape (n, n_outputs)."""
    return np.array([scores_of(each, signature.classes) for each in outputs], np.float64)
