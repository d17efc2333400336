"""What each feature type defines; a new type is a subclass of `FeatureType` in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from include.inference.feature_types.column_checks import Check, not_null
from include.spec import Feature

if TYPE_CHECKING:  # the service has no pyarrow
    import pyarrow as pa

    from include.inference.dictionary_codec import DictionaryCodec

MAX_FLOAT32: Final = float(np.finfo(np.float32).max)
MISSING: Final = float("nan")

F = TypeVar("F", bound=Feature)
FloatColumn = NDArray[np.float32]
# Which rows could not be encoded: None, or a mask of them.
InvalidMask = NDArray[np.bool_] | None
EncodeValue = Callable[[Any], float]
EncodeArrow = Callable[["pa.Array | pa.ChunkedArray"], FloatColumn]
WriteArray = Callable[[NDArray[Any], FloatColumn], InvalidMask]
OnUnknown = Callable[[int], None]
WriteStrings = Callable[[Sequence[bytes], FloatColumn], InvalidMask]

_CLASSES: Final[dict[str, type[FeatureType[Any]]]] = {}


class InvalidValueError(Exception):
    """A value does not fit its feature; the text is what was expected."""


class FeatureType(ABC, Generic[F]):
    """One feature, with all that depends on its type.

    Made once for each feature, when an encoder or a layout is built: what runs for each value or each
    request is a function that this object has returned.

    Parameters
    ----------
    feature : Feature
        The declaration; in a signature, with its whole dictionary of categories.

    Attributes
    ----------
    on_unknown : callable
        Is told how many encoded values were categories that are not known, each time that there are some. By default
        nobody counts them; to count, set it before the encoders are made.
    tensor_type : str
        The type of the Open Inference Protocol that fits best.
    json_tensor_type : str
        The type of a tensor of which the data are JSON.
    block_bounds : tuple of float or None
        Bounds of a type whose columns are numbers, so that many columns are written and checked at once.
        None: each column is written by its own writer.
    missing_code : float
        What a null is in the matrix.
    has_text : bool
        Whether the values are strings.
    frame_type : str or None
        The dtype of the values in a DataFrame; None: that of numbers, or one for text.
    """

    tensor_type: ClassVar[str]
    json_tensor_type: ClassVar[str]
    block_bounds: tuple[float, float] | None = None
    missing_code: ClassVar[float] = MISSING
    has_text: ClassVar[bool] = False
    frame_type: ClassVar[str | None] = None

    def __init_subclass__(cls, *, declaration: type[Feature], **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _CLASSES[declaration.model_fields["kind"].default] = cls

    def __init__(self, feature: F) -> None:
        self.feature = feature
        self.on_unknown: OnUnknown = lambda _values: None

    # Encoding: rows of JSON, columns of tensors, columns of Arrow

    @property
    @abstractmethod
    def expected(self) -> str:
        """What a value may be, to be read after "expected"."""

    @abstractmethod
    def value_encoder(self) -> EncodeValue:
        """Return the function that encodes one JSON value, or raises `InvalidValueError`."""

    def array_writer(self) -> WriteArray:
        """Return the function that writes an array as a column, or returns where it could not; here, nowhere."""
        return lambda column, _out: np.ones(len(column), dtype=np.bool_)

    def string_writer(self) -> WriteStrings | None:
        """Return the function that writes a column of strings; None: the type takes no strings."""
        return None

    def codec(self) -> DictionaryCodec | None:
        """Return what decodes a whole tensor of known strings at once, if the type has few enough."""
        return None

    @property
    def empty_is_missing(self) -> bool:
        """Whether the empty string in a tensor is a missing value: tensors of strings have no null."""
        return False

    @abstractmethod
    def arrow_encoder(self) -> EncodeArrow:
        """Return the function that encodes a column of Arrow that passed its data contract; shape (n_samples,)."""

    # Descriptions of the type

    @property
    @abstractmethod
    def tensor_types(self) -> tuple[str, ...]:
        """All tensor types that the feature accepts."""

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON schema of a value."""
        schema = self._value_schema()
        return {"anyOf": [schema, {"type": "null"}]} if self.feature.nullable else schema

    @abstractmethod
    def _value_schema(self) -> dict[str, Any]:
        """Return the JSON schema of a value that is not null."""

    @abstractmethod
    def example(self) -> Any:
        """Return a value that is accepted."""

    def invalid_values(self) -> Iterator[tuple[Any, str]]:
        """Yield JSON values that must be rejected, each with a sentence; equal sentences, equal cases."""
        if not self.feature.nullable:
            yield None, "a missing value where none may be missing"

    def probe_values(self) -> Iterator[tuple[str, float]]:
        """Yield what the matrix can hold and training rows may not, each with the kind of probe that it is."""
        yield from ()

    # Data: contract, training, evaluation

    def column_checks(self, column_type: str) -> Iterator[Check]:  # noqa: ARG002  # numbers use it
        """Yield the data contract's checks of the feature's column, which has the PostgreSQL type `column_type`."""
        if not self.feature.nullable:
            yield not_null(self.feature.name)

    @property
    def unknown_values(self) -> str | None:
        """The SQL condition of the rows with a value that the model takes for missing; None: the type has no such."""
        return None

    def near(self, value: str) -> str | None:  # noqa: ARG002  # a type with unknown values uses it
        """Return the known value that an unknown one was probably meant to be."""
        return None

    def learn(self, train: pa.ChunkedArray) -> F:  # noqa: ARG002  # types that learn something use it
        """Return the feature with what its encoding takes from the training rows."""
        return self.feature

    @property
    def learned_nothing(self) -> bool:
        """Whether `learn` found nothing to learn in the training rows, and needed it."""
        return False

    def decoded(self, column: FloatColumn) -> Sequence[Any] | FloatColumn:
        """Return the values that an encoded column stands for; None is a null or an unknown category."""
        return column

    def check_learned(self) -> None:
        """Insist that a signature's feature holds what `learn` gives, or raise ValueError."""

    def changed_meaning(self, declared: F) -> str | None:  # noqa: ARG002  # types that say what values mean use it
        """Compare what a signature's feature means with what is declared of the same column.

        Returns
        -------
        str or None
            The difference, to be read after the feature's name; None: the same values mean the same.
        """
        return None

    def is_learned_from(self, declared: F) -> bool:
        """Return whether a training by `declared` on the same rows surely gives this feature, one of a signature."""
        return self.feature == declared

    def refused_values(self, former: F) -> str | None:
        """Compare what the service takes for this feature with what it takes for `former`, of the same type.

        Returns
        -------
        str or None
            What it takes for `former` and refuses for this one, to be read after the feature's name; None: nothing.
        """
        if former.nullable and not self.feature.nullable:
            return "may not be null any more"
        return None

    def merged_values(self, train: pa.ChunkedArray) -> tuple[int, int, float] | None:  # noqa: ARG002  # see `learn`
        """Return how many distinct values there are, how many in single precision, and the median; None: no numbers."""
        return None

    @abstractmethod
    def slice_codes(self, column: FloatColumn) -> tuple[NDArray[np.intp], list[str]]:
        """Cut an encoded column into parts: each row's part, and the parts' names."""


def feature_type(feature: Feature) -> FeatureType[Any]:
    """Return the object that knows all about the type of `feature`."""
    return _CLASSES[feature.kind](feature)
