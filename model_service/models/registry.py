"""What a worker serves from: one served a model, whose content is replaced by a single assignment.

A request reads ``served.current`` once and is answered by that version throughout, whatever is
on_reload in meanwhile. Only the watcher's thread writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from include.errors import NoChampionError, UnknownModelError
from include.inference import ColumnEncoder, RowEncoder, Scorer
from include.records import ModelVersion, Promotion
from include.settings import Pin
from include.spec import ModelSpec
from model_service.http.errors import NotLoadedError


class LoadedModel:
    """One version in memory, with all that an answer needs. Never changed once made.

    Parameters
    ----------
    scorer : Scorer
    version : ModelVersion or Pin
        What the ledger holds of it, or what an operator pinned without asking the ledger.
    promotion : Promotion, optional
        What made it the champion; None when it was asked for by its number.
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

    def __init__(self, scorer: Scorer, version: ModelVersion | Pin, promotion: Promotion | None = None) -> None:
        self.model = scorer.signature.model
        self.version = version.version
        self.artifact_digest = version.artifact_digest
        self.registered = version if isinstance(version, ModelVersion) else None
        self.promotion = promotion
        self.scorer = scorer
        self.encoder = RowEncoder(scorer.signature)
        self.columns = ColumnEncoder(scorer.signature)
        self.classes = scorer.signature.classes


class ServedModel:
    """One declared model's place in a worker.

    Attributes
    ----------
    current : LoadedModel or None
        What answers now.
    champion : Promotion or None
        What the ledger wants to answer; differs from `current` while loading, and after a fault.
    champion_known : bool
        Whether the ledger was asked; before, a missing champion means nothing.
    pin : Pin or None
        What is to answer instead of the champion, which nobody asks for then.
    fault : str or None
        Why the champion, or the pin, could not be loaded.
    spec : ModelSpec or None
        The declaration; None when its file is broken, which does not stop its champion.
    """

    __slots__ = ("champion", "champion_known", "current", "load_error", "name", "pin", "spec")

    def __init__(self, name: str, spec: ModelSpec | None = None) -> None:
        self.name = name
        self.spec = spec
        self.current: LoadedModel | None = None
        self.champion: Promotion | None = None
        self.champion_known = False
        self.pin: Pin | None = None
        self.load_error: str | None = None

    @property
    def ready(self) -> bool:
        """Whether the model answers, or has no champion to answer with."""
        return self.current is not None or (self.champion_known and self.champion is None)

    def require_loaded(self) -> LoadedModel:
        """Return what answers now.

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
        raise NotLoadedError(self.name, faulty=self.load_error is not None)


class ModelRegistry:
    """The registry of all declared models."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._registry: Mapping[str, ServedModel] = {name: ServedModel(name) for name in names}
        self.ledger_error: str | None = None
        self.broken: Mapping[str, str] = {}

    def __getitem__(self, name: str) -> ServedModel:
        try:
            return self._registry[name]
        except KeyError:
            raise UnknownModelError(name, self.names) from None

    def __contains__(self, name: str) -> bool:
        return name in self._registry

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._registry.values())

    @property
    def names(self) -> list[str]:
        """The declared models' names, in alphabetical order."""
        return sorted(self._registry)

    def sync(self, specs: Mapping[str, ModelSpec], broken: Mapping[str, str]) -> None:
        """Make the registry those of `specs` and `broken`; what is loaded stays loaded."""
        registry = dict(self._registry)
        for name in registry.keys() - specs.keys() - broken.keys():
            del registry[name]
        for name in sorted({*specs, *broken}):
            served = registry.setdefault(name, ServedModel(name))
            served.spec = specs.get(name, served.spec)
        self._registry, self.broken = registry, broken

    @property
    def ready(self) -> bool:
        """Whether some model answers, and each that has a champion does."""
        registry = list(self)
        return any(served.current for served in registry) and all(served.ready for served in registry)
