"""A version's signature held against the present declaration.

What a row is (entity key, event time) and what a prediction is (task, classes) must be as declared, because score
tables, bounds and look-ups follow from the declaration. The order of the classes is the version's own, because
predictions are matched by the classes' names. The features are the version's own, too, because its own query reads
them. Only while that query is also the declared one does the declaration say what its columns hold today.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from include.inference.feature_types import feature_type
from include.inference.model_signature import ModelSignature
from include.spec import Feature, FeatureQuery, ModelSpec


def declaration_differences(signature: ModelSignature, query: FeatureQuery, spec: ModelSpec) -> tuple[str, ...]:
    """Return a sentence for each difference that forbids to use a version under the present declaration.

    Parameters
    ----------
    signature : ModelSignature
        The signature of the version.
    query : FeatureQuery
        The query of the version.

    Returns
    -------
    tuple of str
        Empty when it fits.
    """
    found = list(_of_rows(signature, spec))
    found += _of_predictions(signature, spec)
    if query.reads_as(spec.query):
        found += _of_features(signature, spec)
    return tuple(found)


def request_differences(signature: ModelSignature, features: Sequence[Feature]) -> dict[str, str]:
    """Return what clients of a version would find with a version of `features`.

    Returns
    -------
    dict of str to str
        By the name of a feature: why a request that was answered is refused, or read as something else. Under the empty
        name: what holds of requests without names, which give the values in the order of the features.
    """
    former = {feature.name: feature for feature in signature.features}
    declared = {feature.name: feature for feature in features}
    found = {name: "requests that name it are refused" for name in former if name not in declared}
    for name, feature in declared.items():
        if name not in former:
            found[name] = "requests without it are refused: every feature must be given, if only as null"
        elif (difference := _of_values(former[name], feature)) is not None:
            found[name] = difference
    if former.keys() == declared.keys() and list(former) != list(declared):
        found[""] = "requests without names give the values in the former order: they are refused or read as others"
    return found


def by_classes(
    signature: ModelSignature, scores: NDArray[np.float64], classes: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.intp] | None]:
    """Return the scores and the labels of a version with the classes in another order.

    Parameters
    ----------
    scores : ndarray of float64, shape (n, n_classes), or (n, 1) for a regression
        In the order of the signature.
    classes : sequence of str
        The same classes in the order of the result; empty for a regression.

    Returns
    -------
    scores : ndarray of float64
        Of the same shape.
    labels : ndarray of intp, shape (n,), or None
        The position in `classes` of each row's class; None for a regression.
    """
    if not classes:
        return scores, None
    positions = [signature.classes.index(label) for label in classes]
    places = np.argsort(positions)
    return scores[:, positions], np.asarray(places[signature.labels(scores)], dtype=np.intp)


def _of_values(former: Feature, declared: Feature) -> str | None:
    if former.kind != declared.kind:
        return f"it is {declared.kind}, and was {former.kind}: requests with its former values are refused"
    refused = feature_type(declared).refused_values(former)
    if refused is not None:
        return f"it {refused}"
    changed = feature_type(former).changed_meaning(declared)
    return None if changed is None else f"it {changed}: requests with its former values are read as others"


def _of_rows(signature: ModelSignature, spec: ModelSpec) -> Iterator[str]:
    ours, declared = signature.entity_key, spec.entity_key
    if ours.column != declared.column:
        yield f"its entity key is '{ours.column}', and '{declared.column}' is declared"
    if ours.type != declared.type:
        yield f"its entity key '{ours.column}' is {ours.type}, and {declared.type} is declared"
    if signature.event_time != spec.event_time:
        yield f"its event time is '{signature.event_time}', and '{spec.event_time}' is declared"


def _of_predictions(signature: ModelSignature, spec: ModelSpec) -> Iterator[str]:
    if signature.task != spec.task:
        yield f"its task is {signature.task}, and {spec.task} is declared"
    elif set(signature.classes) != set(spec.target.classes):
        yield f"its classes are {', '.join(signature.classes)}, and {', '.join(spec.target.classes)} are declared"


def _of_features(signature: ModelSignature, spec: ModelSpec) -> Iterator[str]:
    declared = {feature.name: feature for feature in spec.features}
    for feature in signature.features:
        if feature.name not in declared:
            continue
        other = declared[feature.name]
        if feature.kind == other.kind:
            changed = feature_type(feature).changed_meaning(other)
        else:
            changed = f"is {feature.kind}, and {other.kind} is declared"
        if changed is not None:
            yield f"its feature '{feature.name}' {changed}, for the same features.sql"
