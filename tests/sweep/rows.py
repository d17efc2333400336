"""Fresh rows, by kind: every row that a declaration lets in, where a holdout does not look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.spec import Boolean, Categorical, Numeric
from include.training.data import TrainingData

Matrix = NDArray[np.float32]
Answer = Callable[[Matrix], NDArray[Any]]
MAX = np.finfo(np.float32).max
BISECTIONS = 34
"""The distance of two single-precision numbers, counted in numbers between them, is below 2 to the 33rd."""


class RowMaker:
    """Makes rows of each kind from the signature and the training rows; equal seeds, equal rows."""

    def __init__(self, data: TrainingData, rows: int, seed: int = 1) -> None:
        self.features: tuple[Any, ...] = data.signature.features  # Any: each kind has attributes of its own
        self.rows = rows
        self.random = np.random.default_rng(seed)
        self.pool = np.concatenate([data.x_train, data.x_holdout])
        self.numeric = [i for i, each in enumerate(self.features) if isinstance(each, Numeric)]
        self.nullable = [i for i, each in enumerate(self.features) if each.nullable]
        self.categorical = [i for i, each in enumerate(self.features) if isinstance(each, Categorical)]

    def kinds(self) -> Iterator[tuple[str, Matrix]]:
        """Yield the kinds that depend on the declaration alone, with their rows."""
        yield "ordinary", self.ordinary(self.rows)
        yield "seen", self.pool[self.random.integers(0, len(self.pool), self.rows)]
        yield "bounds", self.bounds()
        yield "small", self.small()
        if any(self._open(i) for i in self.numeric):
            yield "beyond", self.beyond()
        if self.nullable:
            yield "one_null", self.with_nulls(1)
            yield "two_nulls", self.with_nulls(2)
            yield "all_null", self.with_nulls(len(self.nullable))
        if self.categorical:
            yield "categories", self.each_category()
        if any(self.features[i].handle_unknown == "ignore" for i in self.categorical):
            yield "unknown", self.unknown()

    def ordinary(self, rows: int) -> Matrix:
        """Values of the data, or between the ends of the range; half each."""
        found = np.empty((rows, len(self.features)), dtype=np.float32)
        for position, feature in enumerate(self.features):
            found[:, position] = self._values(position, feature, rows)
        return found

    def _values(self, position: int, feature: Any, rows: int) -> NDArray[np.float64]:
        if isinstance(feature, Categorical):
            return self.random.integers(0, max(1, len(feature.categories)), rows).astype(np.float64)
        if isinstance(feature, Boolean):
            return self.random.integers(0, 2, rows).astype(np.float64)
        column = self.pool[:, position]
        seen = self.random.choice(column[~np.isnan(column)], rows)
        anywhere = self.random.uniform(feature.minimum, feature.maximum, rows).astype(np.float32)
        anywhere = np.clip(anywhere, np.float32(feature.minimum), np.float32(feature.maximum))
        return np.where(self.random.random(rows) < 0.5, seen, anywhere)

    def with_nulls(self, count: int) -> Matrix:
        """Ordinary rows with `count` nulls each: every feature in turn, and every pair of neighbours and more."""
        found = self.ordinary(self.rows)
        for row in range(self.rows):
            chosen = (
                [self.nullable[row % len(self.nullable)]]
                if count == 1
                else self.random.choice(self.nullable, min(count, len(self.nullable)), replace=False)
            )
            for position in chosen:
                found[row, position] = -1 if position in self.categorical else np.nan
        return found

    def each_category(self) -> Matrix:
        """Every category of every feature, one after the other."""
        found = self.ordinary(self.rows)
        codes = [(i, code) for i in self.categorical for code in range(len(self.features[i].categories))]
        for row in range(self.rows):
            position, code = codes[row % len(codes)]
            found[row, position] = code
        return found

    def unknown(self) -> Matrix:
        """A category that was never seen: in one feature, or in all."""
        found = self.ordinary(self.rows)
        taking = [i for i in self.categorical if self.features[i].handle_unknown == "ignore"]
        for row in range(self.rows):
            turn = row % (len(taking) + 1)
            found[row, taking if turn == len(taking) else [taking[turn]]] = -1
        return found

    def bounds(self) -> Matrix:
        """The two ends of each range; in every tenth row, of all ranges at once."""
        found = self.ordinary(self.rows)
        for row in range(self.rows):
            some = self.numeric if row % 10 == 9 else [self.numeric[row // 2 % len(self.numeric)]]
            for position in some:
                feature = self.features[position]
                found[row, position] = feature.maximum if row % 2 else feature.minimum
        return found

    def beyond(self) -> Matrix:
        """The next number beyond each end, numbers far beyond, and the largest ones of single precision."""
        found = self.ordinary(self.rows)
        taking = [i for i in self.numeric if self._open(i)]
        for row in range(self.rows):
            position = taking[row // 6 % len(taking)]
            feature = self.features[position]
            low, high = np.float32(feature.minimum), np.float32(feature.maximum)
            width = high - low
            found[row, position] = (
                np.nextafter(low, -MAX),
                np.nextafter(high, MAX),
                low - 3 * width,
                high + 3 * width,
                -MAX,
                MAX,
            )[row % 6]
        return found

    def small(self) -> Matrix:
        """Zeros of both signs, and the smallest numbers of both signs, where the range has them."""
        found = self.ordinary(self.rows)
        for row in range(self.rows):
            position = self.numeric[row // 6 % len(self.numeric)]
            value = (0.0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39)[row % 6]
            feature = self.features[position]
            if self._open(position) or feature.minimum <= value <= feature.maximum:
                found[row, position] = value
        return found

    def _open(self, position: int) -> bool:
        feature = self.features[position]
        return isinstance(feature, Numeric) and feature.out_of_range == "ignore"

    # Kinds that depend on the estimator

    def thresholds(self, answer: Answer, nodes: list[tuple[int, float]]) -> Matrix:
        """The numbers at which the answer jumps, with both neighbours.

        `nodes` are splits of trees that read the features directly. The others are searched: two rows that differ in
        one feature, and a bisection down to two neighbouring numbers.
        """
        found = [self._at_nodes(nodes)] if nodes else []
        before, after, position = self._pairs(max(8, self.rows // 8))
        low, high, position = self._bisect(before, after, position, answer)
        found += [low, high, _next_number(high, position)]
        return np.concatenate(found)[: self.rows]

    def decision_boundary(self, label: Answer) -> Matrix:
        """Rows on both sides of the places where the label changes."""
        before, after, position = self._pairs(max(8, self.rows // 2))
        return np.concatenate(self._bisect(before, after, position, label)[:2])

    def _at_nodes(self, nodes: list[tuple[int, float]]) -> Matrix:
        rows = self.rows // 2
        found = self.ordinary(rows)
        for row in range(rows):
            position, threshold = nodes[(row // 3 * 7919) % len(nodes)]
            value = np.float32(threshold)
            value = (np.nextafter(value, -MAX), value, np.nextafter(value, MAX))[row % 3]
            feature = self.features[position]
            if not isinstance(feature, Numeric) or feature.minimum <= value <= feature.maximum:
                found[row, position] = value
        return found

    def _pairs(self, rows: int) -> tuple[Matrix, Matrix, NDArray[np.intp]]:
        before, other = self.ordinary(rows), self.ordinary(rows)
        position = self.random.choice(self.numeric, rows)
        after = before.copy()
        after[np.arange(rows), position] = other[np.arange(rows), position]
        return before, after, position

    def _bisect(
        self, before: Matrix, after: Matrix, position: NDArray[np.intp], answer: Answer
    ) -> tuple[Matrix, Matrix, NDArray[np.intp]]:
        start, end = answer(before), answer(after)
        differ = (start != end).any(axis=1)
        before, after, position, start = before[differ].copy(), after[differ].copy(), position[differ], start[differ]
        rows = np.arange(len(before))
        low, high = _ordered(before[rows, position]), _ordered(after[rows, position])
        for _ in range(BISECTIONS if len(rows) else 0):
            middle = low + (high - low) // 2
            before[rows, position] = _floats(middle)
            same = (answer(before) == start).all(axis=1)
            low, high = np.where(same, middle, low), np.where(same, high, middle)
            if (np.abs(high - low) <= 1).all():
                break
        before[rows, position], after[rows, position] = _floats(low), _floats(high)
        return before, after, position


def _next_number(matrix: Matrix, position: NDArray[np.intp]) -> Matrix:
    found = matrix.copy()
    rows = np.arange(len(found))
    found[rows, position] = np.nextafter(found[rows, position], np.float32(0))  # towards zero: never beyond a range
    return found


def _ordered(values: Matrix) -> NDArray[np.int64]:
    """Return integers in the order of the single-precision numbers, without gaps."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _floats(order: NDArray[np.int64]) -> Matrix:
    bits = np.where(order < 0, -order | 0x80000000, order)
    return bits.astype(np.uint32).view(np.float32)


def split_nodes(estimator: Any) -> list[tuple[int, float]]:
    """Return the splits (feature, threshold) of trees that read the features as they are; none for a pipeline."""
    found: list[tuple[int, float]] = []
    for tree in _trees(estimator):
        if hasattr(tree, "tree_"):
            inner = tree.tree_.children_left != -1
            found += zip(tree.tree_.feature[inner].tolist(), tree.tree_.threshold[inner].tolist(), strict=True)
        else:
            inner = tree.nodes["is_leaf"] == 0
            nodes = tree.nodes[inner & (tree.nodes["is_categorical"] == 0)]
            found += zip(nodes["feature_idx"].tolist(), nodes["num_threshold"].tolist(), strict=True)
    return [(feature, threshold) for feature, threshold in found if np.isfinite(threshold)]


def _trees(estimator: Any) -> Iterator[Any]:
    if hasattr(estimator, "tree_"):
        yield estimator
    elif hasattr(estimator, "_predictors"):
        yield from (tree for iteration in estimator._predictors for tree in iteration)
    elif type(estimator).__name__.startswith(("RandomForest", "ExtraTrees", "GradientBoosting", "AdaBoost", "Bagging")):
        for part in np.asarray(estimator.estimators_, dtype=object).ravel():
            if not hasattr(part, "steps"):
                yield from _trees(part)
