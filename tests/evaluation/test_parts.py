"""Slices, groups, single features, serving: what is looked at beside the figures of the whole holdout."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from include.evaluation.blocks import Blocks
from include.evaluation.curves import MAX_POINTS, card_data, precision_recall, roc
from include.evaluation.data_checks import constant_features, serving_skew, univariate_strength
from include.evaluation.intervals import IntervalConfig
from include.evaluation.slice_finder import bin_features, row_losses, worst_slices
from include.evaluation.slices import group_rates, parts_of, slice_metrics
from include.inference import ModelSignature, Scorer
from include.inference.batch import encode_batch
from include.spec import Boolean, Categorical, DecisionThreshold, EntityKey, Numeric, Slice, Target
from include.training.conversion import convert
from include.training.threshold import best_threshold

FEATURES = (
    Numeric(name="size", unit="m", minimum=0, maximum=10, nullable=True),
    Categorical(name="colour", categories=("blue", "green", "red")),
    Boolean(name="old"),
)
SIGNATURE = ModelSignature(
    model="m",
    task="binary",
    entity_key=EntityKey(column="key"),
    event_time="at",
    features=FEATURES,
    classes=("no", "yes"),
)
COUNT = 6000


def rows(seed: int = 0, count: int = COUNT) -> tuple[pa.Table, np.ndarray, np.ndarray, Blocks]:
    """Rows, truth, well calibrated scores, and thirty days; small red things are badly scored."""
    random = np.random.default_rng(seed)
    size = random.uniform(0, 10, count)
    colour = random.choice(["blue", "green", "red"], count, p=[0.5, 0.4, 0.1])
    truth = (random.random(count) < 0.1 + 0.08 * size).astype(np.int64)
    said = 0.1 + 0.08 * size
    bad = (colour == "red") & (size < 5)
    said = np.where(bad, 0.97, np.clip(said, 0.01, 0.99))
    table = pa.table(
        {
            "key": [f"k{i}" for i in range(count)],
            "size": pa.array(size, mask=random.random(count) < 0.05),
            "colour": colour,
            "old": random.random(count) < 0.5,
        }
    )
    return table, truth, np.column_stack([1 - said, said]), Blocks(np.arange(count) * 30 // count, 30, "")


def test_a_slice_divides_the_rows_by_values_by_cuts_and_by_missing() -> None:
    table, *_ = rows()
    colours = dict(parts_of(table, Slice(feature="colour")))
    assert list(colours) == ["colour = blue", "colour = green", "colour = red"]
    sizes = dict(parts_of(table, Slice(feature="size", cuts=(2, 5))))
    assert list(sizes) == ["size < 2", "2 <= size < 5", "size >= 5", "size missing"]
    for parts in (colours, sizes):
        assert (np.sum(list(parts.values()), axis=0) == 1).all()


def test_a_slice_has_figures_with_intervals_beside_the_champions_and_small_ones_are_counted() -> None:
    table, truth, scores, blocks = rows()
    figures, left_out = slice_metrics(
        "binary", table, truth, {"candidate": scores, "champion": scores, "baseline": scores}, blocks, IntervalConfig(),
        declared=(Slice(feature="colour"), Slice(feature="size", cuts=(0.1,))), metrics=("log_loss", "roc_auc"),
        min_rows=200, thresholds={},
    )  # fmt: skip
    assert left_out == 1
    assert {each.metric for each in figures} == {"log_loss", "roc_auc"}
    worst = max((each for each in figures if each.metric == "log_loss"), key=lambda each: each.candidate)
    assert worst.name == "colour = red"
    assert worst.low < worst.candidate == worst.champion < worst.high
    assert (worst.difference.value, worst.difference.standard_error, worst.p_value) == (0.0, 0.0, 1.0)


def test_the_worst_slice_is_found_by_itself_as_a_pair_of_features() -> None:
    table, truth, scores, blocks = rows()
    cuts = bin_features(FEATURES, encode_batch(table, SIGNATURE))
    found = worst_slices("binary", {"candidate": row_losses("binary", truth, scores)}, cuts, blocks, min_rows=100)
    assert "colour = red" in found[0].name
    assert "size in [" in found[0].name
    assert found[0].candidate > 1.5 * found[0].elsewhere
    assert found[0].p_value < 0.001


def test_where_nothing_is_worse_hardly_anything_is_found() -> None:
    alarms = 0
    for seed in range(20):
        table, truth, _, blocks = rows(seed, 3000)
        random = np.random.default_rng(seed)
        losses = random.exponential(size=len(truth))
        cuts = bin_features(FEATURES, encode_batch(table, SIGNATURE))
        alarms += bool(worst_slices("binary", {"candidate": losses}, cuts, blocks, min_rows=100))
    assert alarms <= 4  # one in twenty expected; ten and more without the correction


def test_p_values_are_corrected_as_benjamini_and_hochberg_published() -> None:
    # Their example of 15 comparisons (JRSS B 57, section 3.2): at 5% the first four are rejected.
    published = np.array(
        [
            0.0001,
            0.0004,
            0.0019,
            0.0095,
            0.0201,
            0.0278,
            0.0298,
            0.0344,
            0.0459,
            0.324,
            0.4262,
            0.5719,
            0.6528,
            0.759,
            1.0,
        ]
    )
    assert (false_discovery_control(published) <= 0.05).sum() == 4
    assert false_discovery_control(published[::-1])[::-1] == pytest.approx(false_discovery_control(published))


def test_rates_of_groups_by_hand() -> None:
    table = pa.table({"old": [True] * 4 + [False] * 2})
    truth, said = np.array([1, 1, 0, 0, 0, 0]), np.array([0.9, 0.2, 0.6, 0.1, 0.1, 0.2])
    no, yes = group_rates(table, truth, said >= 0.5, ["old"])
    assert (yes.rows, yes.selection_rate, yes.true_positive_rate, yes.false_positive_rate) == (4, 0.5, 0.5, 0.5)
    assert (no.rows, no.selection_rate, no.true_positive_rate, no.false_positive_rate) == (2, 0.0, None, 0.0)


def test_a_leak_is_strong_alone_noise_is_not_and_what_is_filled_in_afterwards_loses_its_strength() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, 8000)
    noise, leak = random.normal(size=8000), truth * 3 + random.normal(size=8000) * 0.5
    late = np.where(np.arange(8000) < 6000, leak, np.nan)  # not yet filled in for the newest rows
    bent = np.abs(random.normal(size=8000)) * np.where(truth == 1, 1, 0.2) * random.choice([-1, 1], 8000)
    matrix = np.column_stack([noise, leak, late, bent]).astype(np.float32)
    found = univariate_strength(
        "binary", ["noise", "leak", "late", "bent"], (matrix[:6000], truth[:6000]), (matrix[6000:], truth[6000:])
    )
    by_name = {each.feature: each for each in found}
    assert found[0].feature == "leak"
    assert by_name["leak"].holdout > 0.99
    assert by_name["noise"].holdout == pytest.approx(0.5, abs=0.05)
    assert by_name["late"].training - by_name["late"].holdout > 0.4
    assert by_name["bent"].holdout > 0.8  # of no order and no line


def test_a_leak_of_values_is_found_too() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(size=4000)
    matrix = np.column_stack([truth + 0.01 * random.normal(size=4000), random.normal(size=4000)]).astype(np.float32)
    leak, noise = univariate_strength(
        "regression", ["leak", "noise"], (matrix[:3000], truth[:3000]), (matrix[3000:], truth[3000:])
    )
    assert leak.holdout > 0.95
    assert noise.holdout < 0.05


def test_a_feature_of_one_value_or_of_none_is_constant() -> None:
    nothing = np.full((4, 1), np.nan, dtype=np.float32)
    fives, varied = np.full((4, 1), 5, dtype=np.float32), np.arange(4, dtype=np.float32).reshape(4, 1)
    half = np.array([[5], [np.nan], [5], [5]], dtype=np.float32)
    learned, judged = np.hstack([nothing, fives, varied, half]), np.hstack([nothing, varied, fives, half])
    names = ("empty", "once", "now", "half")
    assert constant_features(names, learned, judged) == {
        "empty": "training and holdout", "once": "training", "now": "holdout",
    }  # fmt: skip


def test_a_feature_that_depends_on_which_period_was_asked_for_is_named_with_its_share() -> None:
    table, *_ = rows(count=400)
    table = table.append_column("at", pa.array(range(400), pa.timestamp("us", "UTC")))
    last = table.slice(300)
    assert serving_skew(SIGNATURE, table, last) == {}
    same = table.set_column(0, "key", pa.array(["one key on many days"] * 400))
    assert serving_skew(SIGNATURE, same, same.slice(300)) == {}
    sizes = last.column("size").to_pylist()
    other = last.set_column(1, "size", pa.array([0.5 if i % 4 == 0 else each for i, each in enumerate(sizes)]))
    assert serving_skew(SIGNATURE, table, other) == {"size": pytest.approx(0.25)}
    strangers = last.set_column(0, "key", pa.array([f"x{i}" for i in range(100)]))
    assert "none of the last rows of the holdout was returned" in serving_skew(SIGNATURE, table, strangers)


def test_curves_keep_their_ends_and_have_at_most_two_hundred_points() -> None:
    _, truth, scores, _ = rows()
    line = roc(truth == 1, scores[:, 1])
    assert len(line.x) == len(line.y) <= MAX_POINTS
    assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 0, 1, 1)
    pr = precision_recall(truth == 1, scores[:, 1])
    assert len(pr.x) <= MAX_POINTS
    assert list(pr.x) == sorted(pr.x)


def test_the_card_draws_what_matters_most_first() -> None:
    from sklearn.linear_model import LogisticRegression

    table, truth, scores, _ = rows()
    matrix = np.nan_to_num(encode_batch(table, SIGNATURE), nan=5.0)
    model = LogisticRegression(max_iter=500).fit(matrix, truth)
    scorer = Scorer(convert(model, 3, "predict_proba"), SIGNATURE)

    class Spec:
        name, task, seed = "m", "binary", 0
        target = Target(column="late", classes=SIGNATURE.classes)

    card = card_data(Spec(), truth, {"candidate": scorer.score(matrix), "baseline": scores}, scorer, matrix)
    assert card.importances[0].feature == "size"
    assert card.importances[0].mean > 10 * abs(card.importances[1].mean)
    assert card.importance_rows == 5000
    assert set(card.roc) == set(card.precision_recall) == set(card.calibration) == {"candidate", "baseline"}
    assert sum(each.rows for each in card.scores) == COUNT
    predicted = model.predict(matrix)
    assert card.confusion == tuple(
        tuple(int(((truth == a) & (predicted == b)).sum()) for b in (0, 1)) for a in (0, 1)
    ), "of the labels that are served"
    assert len(card.model_dump_json()) < 100_000


@pytest.mark.parametrize(
    ("declared", "wanted"),
    [
        (DecisionThreshold(maximize="f1"), 0.5),
        (DecisionThreshold(costs=(1, 1)), 0.7),  # 0.5, 0.7: one error each
        (DecisionThreshold(costs=(1, 5)), 0.5),
        (DecisionThreshold(costs=(5, 1)), 0.7),
        (DecisionThreshold(positive_rate=0.5), 0.7),
        (DecisionThreshold(positive_rate=0.1), np.nextafter(0.9, 1)),
    ],
)
def test_the_threshold_is_the_best_one_for_what_is_declared(declared: DecisionThreshold, wanted: float) -> None:
    positive, score = np.array([0, 0, 1, 1, 1], dtype=bool), np.array([0.1, 0.6, 0.5, 0.7, 0.9])
    assert best_threshold(declared, positive, score) == wanted


SCORES = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=1, max_size=30)


@given(SCORES, st.floats(0.1, 10), st.floats(0.1, 10))
def test_no_threshold_costs_less_than_the_one_that_is_chosen(
    rows, false_positive: float, false_negative: float
) -> None:
    positive, score = np.array([each for each, _ in rows]), np.array([each for _, each in rows])

    def cost(threshold: float) -> float:
        selected = score >= threshold
        return false_positive * (selected & ~positive).sum() + false_negative * (~selected & positive).sum()

    chosen = best_threshold(DecisionThreshold(costs=(false_positive, false_negative)), positive, score)
    assert cost(chosen) == pytest.approx(min(cost(each) for each in score))
