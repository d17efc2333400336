"""A version as the steps use it: its files verified, its signature held against the declaration and the source.

Every step in which a version meets data gets it here. A version is scored by its own query and its own signature, which
are files of its artifact; `include.inference.compatibility` says what must be as declared nevertheless.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from include import validation
from include.errors import NoChampionAtTimeError, NoChampionError, SourceQueryError, VersionIncompatibleError
from include.inference import ModelSignature, Scorer, declaration_differences, load_scorer
from include.records import Period, ScoreMode
from include.registry import VerifiedArtifact
from include.resources import Resources
from include.spec import QUERY_FILE, FeatureQuery, ModelSpec

NOT_SCORED: Final = "Nothing was scored; the published rows stay."
NOT_PROMOTED: Final = "The champion stays."


@dataclass(frozen=True)
class OpenedVersion:
    """A version whose artifact was verified.

    Attributes
    ----------
    query : FeatureQuery
        The query that its training rows were read with; the only one that it is scored by.
    """

    version: int
    artifact: VerifiedArtifact

    @cached_property
    def scorer(self) -> Scorer:
        """Its model, loaded when it is first needed."""
        return load_scorer(self.artifact)

    @cached_property
    def signature(self) -> ModelSignature:
        """What it takes and returns."""
        return ModelSignature.from_json(self.artifact.read("signature.json"))

    @cached_property
    def query(self) -> FeatureQuery:  # noqa: D102  # in the class's docstring
        return self.signature.query(self.artifact.read(QUERY_FILE).decode())


def resolve_version(
    spec: ModelSpec, period: Period, resources: Resources, *, version: int | None = None, mode: ScoreMode = "champion"
) -> tuple[int, ScoreMode]:
    """Return the version that scores `period`, and how it was chosen, which the ledger records.

    Parameters
    ----------
    version : int, optional
        A named version; then `mode` does not matter.
    mode : {"champion", "champion_then"}
        The present champion, or the champion at the end of the partition; a promotion at exactly that moment counts.

    Raises
    ------
    UnknownVersionError
        When the named version was never registered.
    NoChampionError
        When there is no champion; `NoChampionAtTimeError` when there was none yet. A later version may have been
        trained on the rows of that time, so it scores them only when it is named.
    """
    ledger = resources.ledger
    if version is not None:
        return ledger.version(spec.name, version).version, "named"
    champion = ledger.champion(spec.name)
    if champion is None:
        raise NoChampionError(spec.name)
    if mode == "champion":
        return champion.to_version, "champion"
    then = ledger.champion_at(spec.name, period.end)
    if then is None:
        first = ledger.promotions(spec.name)[0]  # since the model was deleted, if it was
        raise NoChampionAtTimeError(spec.name, str(period), first.to_version, first.promoted_at)
    return then.to_version, "champion_then"


def open_version(model: str, version: int, resources: Resources, artifact_digest: str | None = None) -> OpenedVersion:
    """Open a version, and verify every file of it.

    Parameters
    ----------
    artifact_digest : str, optional
        By default that of the ledger.

    Raises
    ------
    UnknownVersionError
        When it was never registered.
    ArtifactError, SignatureError
        When its artifact is not what was registered.
    """
    digest = artifact_digest or resources.ledger.version(model, version).artifact_digest
    return OpenedVersion(version, resources.artifacts.open(model, version, digest))


def require_declared(spec: ModelSpec, opened: OpenedVersion, untouched: str) -> OpenedVersion:
    """Return the version, if it may be used under the present declaration.

    Parameters
    ----------
    untouched : str
        What did not happen, for the message.

    Raises
    ------
    VersionIncompatibleError
        The message lists the differences.
    """
    found = declaration_differences(opened.signature, opened.query, spec)
    if found:
        raise VersionIncompatibleError(spec.name, opened.version, found, untouched)
    return opened


def require_fit(spec: ModelSpec, opened: OpenedVersion, resources: Resources, untouched: str) -> OpenedVersion:
    """Return the version, if it fits the declaration and the source; see `require_declared` and `require_source`."""
    return require_source(require_declared(spec, opened, untouched), resources, untouched)


def require_source(opened: OpenedVersion, resources: Resources, untouched: str) -> OpenedVersion:
    """Return the version, if the source as it is now answers its query with the columns that it was trained on.

    The query is planned by the database, and reads no rows.

    Raises
    ------
    VersionIncompatibleError
        When the query does not run, or a column is missing or of another type.
    DatabaseError
        When the database does not answer.
    """
    query = opened.query
    try:
        found = validation.column_differences(query, resources.features.columns(query))
    except SourceQueryError as error:
        found = (f"its features.sql does not run: {error.found}",)
    if found:
        raise VersionIncompatibleError(query.model, opened.version, found, untouched)
    return opened
