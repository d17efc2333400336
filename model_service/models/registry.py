"""The models that a worker serves: one `ServedModel` per declared model, replaced by a single assignment.

A request reads ``served.current`` once and is answered by that version throughout, whatever is loaded meanwhile. Only
the watcher's thread writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from include.errors import NoChampionError, UnknownModelError
from include.inference import ColumnEncoder, RowEncoder, Scorer, UnknownCategoryCounter
from include.records import ModelVersion, Promotion
from include.settings import Pin
from include.spec import ModelSpec
from model_service.http.errors import NotLoadedError


class LoadedModel:
    """One version in memory. It is immutable.

    Parameters
    ----------
    scorer : Scorer
    version : ModelVersion or Pin
        The version's record in the ledger, or the operator's pin.
    promotion : Promotion, optional
        The promotion that made it the champion; None for a version that was loaded by its number.
    unknown : UnknownCategoryCounter, optional
        Counts the values in requests that are categories which the version does not know.
    """

    __slots__ = (
        "artifact_digest",
        "classes",
        "columns",
        "encoder",
        "model",
        "promotion",
        "registered",
        "scorer",
        "version",
    )

    def __init__(
        self,
        scorer: Scorer,
        version: ModelVersion | Pin,
        promotion: Promotion | None = None,
        unknown: UnknownCategoryCounter | None = None,
    ) -> None:
        self.model = scorer.signature.model
        self.version = version.version
        self.artifact_digest = version.artifact_digest
        self.registered = version if isinstance(version, ModelVersion) else None
        self.promotion = promotion
        self.scorer = scorer
        self.encoder = RowEncoder(scorer.signature, unknown)
        self.columns = ColumnEncoder(scorer.signature, unknown)
        self.classes = scorer.signature.classes


class ServedModel:
    """A declared model and the version of it that answers.

    Attributes
    ----------
    current : LoadedModel or None
        The version that answers now.
    champion : Promotion or None
        The champion in the ledger. It differs from `current` while it is loaded, and if it cannot be loaded.
    champion_known : bool
        Whether the ledger was read; before, `champion` is meaningless.
    deleted_version : int
        The last version of before the model was deleted and declared again; 0: it was not. None up to it is served.
    pin : Pin or None
        The version to serve instead of the champion.
    load_error : str or None
        Why the champion or the pinned version could not be loaded.
    spec : ModelSpec or None
        The declaration; None if its file is invalid, in which case the champion is served nevertheless.
    """

    __slots__ = ("champion", "champion_known", "current", "deleted_version", "load_error", "name", "pin", "spec")

    def __init__(self, name: str, spec: ModelSpec | None = None) -> None:
        self.name = name
        self.spec = spec
        self.current: LoadedModel | None = None
        self.champion: Promotion | None = None
        self.champion_known = False
        self.deleted_version = 0
        self.pin: Pin | None = None
        self.load_error: str | None = None

    @property
    def ready(self) -> bool:
        """Whether a version is loaded, or there is no champion to load."""
        return self.current is not None or (self.champion_known and self.champion is None)

    def require_loaded(self) -> LoadedModel:
        """Return the version that answers now.

        Raises
        ------
        NoChampionError
            If no version was ever promoted.
        NotLoadedError
            If there is a champion, but it is not in memory.
        """
        current = self.current
        if current is not None:
            return current
        if self.champion_known and self.champion is None:
            raise NoChampionError(self.name)
        raise NotLoadedError(self.name, failed=self.load_error is not None)


class ModelRegistry:
    """All declared models.

    Attributes
    ----------
    ledger_error : str or None
        Why the ledger cannot be read.
    invalid_specs : mapping of str to str
        The models whose declaration is invalid, each with the reason.
    unknown_categories : UnknownCategoryCounter
        Counts the values in requests that are categories which the version that answers does not know.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._models: Mapping[str, ServedModel] = {name: ServedModel(name) for name in names}
        self.ledger_error: str | None = None
        self.invalid_specs: Mapping[str, str] = {}
        self.unknown_categories = UnknownCategoryCounter()

    def __getitem__(self, name: str) -> ServedModel:
        try:
            return self._models[name]
        except KeyError:
            raise UnknownModelError(name, self.names) from None

    def __contains__(self, name: object) -> bool:
        return name in self._models

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def names(self) -> list[str]:
        """The names of the declared models, in alphabetical order."""
        return sorted(self._models)

    def sync(self, specs: Mapping[str, ModelSpec], invalid_specs: Mapping[str, str]) -> None:
        """Add and remove models until they are those declared; loaded versions stay loaded."""
        models = dict(self._models)
        for name in models.keys() - specs.keys() - invalid_specs.keys():
            del models[name]
        for name in sorted({*specs, *invalid_specs}):
            served = models.setdefault(name, ServedModel(name))
            served.spec = specs.get(name, served.spec)
        self._models, self.invalid_specs = models, invalid_specs

    @property
    def ready(self) -> bool:
        """Whether at least one model answers, and every model that has a champion does."""
        models = list(self)
        return any(served.current for served in models) and all(served.ready for served in models)
