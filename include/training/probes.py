"""Rows that the declaration lets in and a holdout rarely contains, on which the graph is compared as well.

They are made by rule and seed from the signature, the training rows and the graph's own thresholds: the same
candidate is always asked the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from include.inference import ModelSignature
from include.inference.feature_types import feature_type
from include.training.data import evenly_spaced

Matrix = NDArray[np.float32]

BASE_ROWS: Final = 25
"""Training rows in which each value is tried."""
MAX_ROWS: Final = 2_000
"""Rows of one kind; with more features or values, some are left out by chance."""
SEARCHED_ROWS: Final = 20_000
"""Training rows among which ties are looked for."""
BISECTIONS: Final = 40
"""Between two numbers of single precision; after them, the two are neighbours."""


@dataclass(frozen=True, slots=True)
class Probes:
    """Rows of one kind.

    Parameters
    ----------
    kind : str
    rows : ndarray of float32, shape (n_rows, n_features)
    features : tuple of int, or None for each row
        Which features were changed, so that an error can name them.
    """

    kind: str
    rows: Matrix
    features: list[tuple[int, ...]]


def make_probes(
    signature: ModelSignature,
    train: Matrix,
    thresholds: dict[int, NDArray[np.float64]],
    margins: Callable[[Matrix], NDArray[np.float64]] | None,
    seed: int,
) -> Iterator[Probes]:
    """Yield the probes, kind by kind.

    Parameters
    ----------
    train : ndarray of float32, shape (n_samples, n_features)
    thresholds : dict of int to ndarray
        The thresholds of the graph's trees, by feature.
    margins : callable or None
        Returns how far apart the two most probable classes of each row are; None for a regression.
    seed : int
    """
    random = np.random.default_rng(seed)
    base = train[evenly_spaced(len(train), BASE_ROWS)]
    maker = _Maker(base, random)
    types = [feature_type(each) for each in signature.features]
    nullable = [(position, each.missing_code) for position, each in enumerate(types) if each.feature.nullable]
    yield maker.singles("a null in one feature", [(p, code) for p, code in nullable])
    pairs = [((p, a), (q, b)) for (p, a), (q, b) in combinations(nullable, 2)]
    yield maker.several("nulls in two features", pairs)
    yield maker.several("every feature null that may be", [tuple(nullable)] if nullable else [])
    for kind, values in _values_by_kind(types).items():
        yield maker.singles(kind, values)
    beside = [
        (feature, value) for feature, splits in sorted(thresholds.items()) for value in _beside(splits, types[feature])
    ]
    yield maker.singles("at and beside the trees' thresholds", beside, one_row=True)
    if margins is not None:
        some = train[evenly_spaced(len(train), SEARCHED_ROWS)]
        closest = np.argsort(margins(some), kind="stable")[: MAX_ROWS // 4]
        yield Probes("closest to a tie of two classes", some[closest], [()] * len(closest))


def label_change_probes(
    signature: ModelSignature, train: Matrix, labels: Callable[[Matrix], NDArray[np.intp]], seed: int
) -> Probes:
    """Return rows on both sides of the places where one number changes the label: first the one side, then the other.

    An estimator whose answer depends on its own rounding shows it there: elsewhere its probabilities can be 0 or 1.

    Parameters
    ----------
    train : ndarray of float32, shape (n_samples, n_features)
    labels : callable
        Returns the class index that the graph gives each row; -1: none.
    seed : int
    """
    kind, random = "on both sides of a change of the label", np.random.default_rng(seed)
    numeric = np.flatnonzero(numeric_features(signature))
    if not len(numeric):
        return Probes(kind, train[:0], [])
    pairs = np.arange(MAX_ROWS // 4)
    first, second = train[random.integers(len(train), size=(2, len(pairs)))]
    feature = random.choice(numeric, len(pairs))
    low, high = first[pairs, feature], second[pairs, feature]

    def labels_at(values: Matrix) -> NDArray[np.intp]:
        rows = first.copy()
        rows[pairs, feature] = values
        return labels(rows)

    kept = np.isfinite(low) & np.isfinite(high)
    low[~kept] = high[~kept] = 0
    start, end = labels_at(low), labels_at(high)
    kept &= (start != end) & (start >= 0) & (end >= 0)
    for _ in range(BISECTIONS if kept.any() else 0):
        middle = (low + (high - low) / 2).astype(np.float32)
        same = labels_at(middle) == start
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    rows, changed = np.concatenate([first[kept], first[kept]]), np.tile(feature[kept], 2)
    rows[np.arange(len(rows)), changed] = np.concatenate([low[kept], high[kept]])
    return Probes(kind, rows, [(int(each),) for each in changed])


def numeric_features(signature: ModelSignature) -> NDArray[np.bool_]:
    """Return which features take any number between their bounds, shape (n_features,)."""
    return np.array([feature_type(each).block_bounds is not None for each in signature.features])


class _Maker:
    def __init__(self, base: Matrix, random: np.random.Generator) -> None:
        self._base, self._random = base, random

    def singles(self, kind: str, values: list[tuple[int, float]], *, one_row: bool = False) -> Probes:
        """Return rows with one value changed: each value in every base row, or in one of them."""
        return self.several(kind, [(each,) for each in values], one_row=one_row)

    def several(self, kind: str, changes: Sequence[tuple[tuple[int, float], ...]], *, one_row: bool = False) -> Probes:
        """Return rows with several values changed at once."""
        count = len(self._base)
        if one_row:
            chosen = [(change, at % count) for at, change in enumerate(changes)]
        else:
            chosen = [(change, at) for change in changes for at in range(count)]
        if len(chosen) > MAX_ROWS:
            kept = np.sort(self._random.choice(len(chosen), MAX_ROWS, replace=False))
            chosen = [chosen[at] for at in kept]
        rows = np.empty((len(chosen), self._base.shape[1]), dtype=np.float32)
        for place, (change, at) in enumerate(chosen):
            rows[place] = self._base[at]
            for position, value in change:
                rows[place, position] = value
        return Probes(kind, rows, [tuple(position for position, _ in change) for change, _ in chosen])


def _values_by_kind(types: list[Any]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for position, each in enumerate(types):
        for kind, value in each.probe_values():
            found.setdefault(kind, []).append((position, value))
    return found


def _beside(splits: NDArray[np.float64], each: Any) -> list[float]:
    """Return the floats at and around thresholds, as far as they are let in."""
    low, high = each.block_bounds or (-np.inf, np.inf)
    at = splits[np.isfinite(splits)].astype(np.float32)
    around = np.unique(
        np.concatenate([np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf))])
    )
    values: list[float] = around[(around >= low) & (around <= high)].tolist()
    return values if each.block_bounds else []
