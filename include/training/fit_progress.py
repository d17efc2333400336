"""Reports the trees of an estimator while it is fitted, where scikit-learn lets one see them."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, Final

from include.progress import Progress, repeated_in_background
from include.training.estimator import last_step

LOOK_EVERY_SECONDS: Final = 0.5


def tree_progress(estimator: Any, progress: Progress) -> contextlib.AbstractContextManager[None]:
    """Look at the last step of `estimator` twice a second while the body fits it, and report its trees so far.

    scikit-learn 1.9 has callbacks for few estimators, and none of trees. Boosting fills a list on the estimator as it
    goes. Forests show nothing before they are done; for them, and for all others, nothing is reported.
    """

    def look() -> None:
        with contextlib.suppress(Exception):  # an estimator of a user's may raise anything when it is looked at
            found = trees_so_far(estimator)
            if found is not None:
                progress.report("trees", *found)

    return repeated_in_background(look, itertools.repeat(LOOK_EVERY_SECONDS))


def trees_so_far(estimator: Any) -> tuple[int, int] | None:
    """Return how many rounds of boosting are done, and how many there are at most; None if that cannot be seen."""
    _, step = last_step(estimator)
    if hasattr(step, "_predictors") and hasattr(step, "max_iter"):  # histogram-based gradient boosting
        return len(step._predictors), int(step.max_iter)  # noqa: SLF001  # there is no public way while it is fitted
    trees: Any = getattr(step, "estimators_", None)
    if hasattr(step, "n_estimators") and getattr(trees, "ndim", 0) == 2:  # gradient boosting
        return sum(each is not None for each in trees[:, 0]), int(step.n_estimators)
    return None
