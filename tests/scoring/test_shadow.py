"""The champion's shadow: a challenger's scores beside the published ones, and how far they are."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from sqlalchemy import text

from include import pipeline
from include.errors import ReconciliationError, ShadowBoundsError
from include.inference import compute_divergence, load_scorer
from include.inference.batch import encode_batch
from include.records import Period
from include.resources import Resources
from include.scoring import measure_divergence
from include.spec import ModelSpec, Shadow
from tests.builders import ROWS_A_DAY
from tests.scoring.conftest import train_version

DAY = Period.of_day(date(2026, 2, 20))


@pytest.fixture
def spec(rivals: ModelSpec) -> ModelSpec:
    return rivals


def test_a_challenger_scores_the_same_rows_and_is_measured_and_nobody_is_served_from_it(
    spec: ModelSpec, resources: Resources
) -> None:
    published = pipeline.score(spec, "score", DAY, resources)
    assert pipeline.shadow_partition(spec, published, "score", resources) is None, "nobody was chosen"
    pipeline.set_challenger(spec.name, 2, "ann", resources)
    found = pipeline.shadow_partition(spec, published, "score", resources)
    assert found is not None
    assert (found.version, found.champion_version, found.row_count) == (2, 1, ROWS_A_DAY)
    query = """SELECT c.p_on_time, c.p_late, s.p_on_time, s.p_late, c.predicted_label <> s.predicted_label
        FROM scores.parcels c JOIN scores.parcels_shadow s USING (partition_start, entity_key)"""
    with resources.engine.connect() as connection:
        rows = connection.execute(text(query)).all()
        versions = connection.execute(text("SELECT DISTINCT model_version FROM scores.parcels")).scalars().all()
    assert versions == [1]
    assert len(rows) == ROWS_A_DAY
    table = np.array([row[:4] for row in rows], dtype=float)
    expected = [spearmanr(table[:, each], table[:, each + 2]).statistic for each in (0, 1)]
    assert found.rank_correlation == pytest.approx(np.mean(expected), abs=1e-12)
    assert found.label_flips == pytest.approx(np.mean([row[4] for row in rows]))
    assert 0 < found.rank_correlation < 1

    again = pipeline.shadow_partition(spec, published, "score", resources)
    assert again == found, "scored again, the rows are replaced"

    strict = spec.model_copy(update={"shadow": Shadow(min_rank_correlation=1.0)})
    with pytest.raises(ShadowBoundsError, match=r"rank correlation with the champion .*; limit at least"):
        pipeline.check_shadow_bounds(strict, 2, resources)
    lenient = spec.model_copy(update={"shadow": Shadow(min_rank_correlation=-1, max_label_flips=1)})
    pipeline.check_shadow_bounds(lenient, 2, resources)
    with pytest.raises(ShadowBoundsError, match="it never scored in shadow"):
        pipeline.check_shadow_bounds(lenient, 1, resources)

    with resources.engine.begin() as connection:
        connection.execute(text("DELETE FROM scores.parcels_shadow WHERE entity_key LIKE '%7'"))
    with pytest.raises(ReconciliationError, match="rows that were published with version 1"):
        measure_divergence(resources.engine, spec, published, 2, "score")

    pipeline.set_challenger(spec.name, None, "ann", resources)
    assert pipeline.shadow_partition(spec, published, "score", resources) is None


def test_the_holdout_is_measured_as_the_shadow_measures_a_partition(spec: ModelSpec, resources: Resources) -> None:
    evaluation = resources.ledger.version(spec.name, 2).evaluation
    assert evaluation.divergence is not None
    assert resources.ledger.version(spec.name, 1).evaluation.divergence is None, "there was no champion"
    with resources.features.read(spec.query, evaluation.holdout, labelled=False) as batches:
        rows = batches.read_all()
    assert rows.num_rows == evaluation.rows
    scores = []
    for number in (1, 2):
        version = resources.ledger.version(spec.name, number)
        scorer = load_scorer(resources.artifacts.open(spec.name, number, version.artifact_digest))
        scores.append(scorer.score(encode_batch(rows, scorer.signature)))
    found = compute_divergence(*scores, flipped=flips(*scores))
    for name, value in evaluation.divergence.to_plain().items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-12)
        assert 0 < value < 1


def test_a_promotion_by_the_gates_does_not_wait_for_a_shadow_that_never_ran(
    spec: ModelSpec, resources: Resources
) -> None:
    bounded = spec.model_copy(update={"shadow": Shadow(min_rank_correlation=1.0)})
    with pytest.raises(ShadowBoundsError, match="it never scored in shadow"):
        pipeline.move_champion(spec.name, 2, "ann", "chosen by hand", resources, bounded)
    train_version(spec.model_copy(update={"gates": spec.gates[::2]}), "three", resources)  # not against the champion
    version = resources.ledger.version(spec.name, 3)
    assert pipeline.promote_candidate(bounded, version, "dag retrain", resources).to_version == 3


SCORES = arrays(np.float64, st.tuples(st.integers(2, 60), st.just(2)), elements=st.floats(0, 1, width=16))


def flips(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one.argmax(axis=1) != other.argmax(axis=1)


@given(SCORES)
def test_a_challenger_that_answers_the_same_diverges_in_nothing(scores: np.ndarray) -> None:
    found = compute_divergence(scores, scores, flipped=flips(scores, scores))
    assert (found.decile_moves, found.label_flips) == (0, 0)
    assert found.rank_correlation is None or found.rank_correlation == pytest.approx(1)


@given(SCORES, st.integers(0, 2**32 - 1))
def test_figures_are_bounded_and_blind_to_the_order_of_rows(scores: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    other = rng.random(scores.shape)
    order = rng.permutation(len(scores))
    found = compute_divergence(scores, other, flipped=flips(scores, other))
    shuffled = compute_divergence(scores[order], other[order], flipped=flips(scores, other)[order])
    for name, value in found.to_plain().items():
        assert getattr(shuffled, name) == (None if value is None else pytest.approx(value))
        assert value is None or -1 - 1e-9 <= value <= 1 + 1e-9
