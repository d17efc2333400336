"""The columns of a model's score tables, written once.

The tables' DDL, the binary COPY, the shadow's table, the comments (and so docs/reference/database.md) and the names
that the service reads follow from this list. To add a column, add it to `columns_of`, with `required=False` or a
`default`. Tables that exist get it when their model is next scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from include.spec import ModelSpec, class_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTITION: Final = "partition_start"
KEY: Final = "entity_key"
TIME: Final = "event_time"
LABEL: Final = "predicted_label"
VALUE: Final = "value"
PROBABILITY: Final = "p_"
"""What the name of a class's column begins with."""
VERSION: Final = "model_version"
SCORED_AT: Final = "scored_at"

FixedType = Literal["double precision", "integer", "bigint", "timestamptz"]


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """One column.

    Parameters
    ----------
    name, sql_type, comment : str
    rows : callable, "key" or "label", optional
        The value of each row: a function of a `ScoredBatch` that returns an array of shape (n,), the entity key, or the
        name of the predicted class. None: all rows of a partition have the same value, or the default.
    required : bool
        Whether it is NOT NULL.
    default : str, optional
        An SQL expression.
    in_shadow : bool
        Whether a challenger's table has it as well.
    """

    name: str
    sql_type: str
    comment: str
    rows: Callable[[Any], NDArray[Any]] | Literal["key", "label"] | None = None
    required: bool = True
    default: str | None = None
    in_shadow: bool = True

    @property
    def definition(self) -> str:
        """The column's line of a CREATE TABLE or ADD COLUMN."""
        default = "" if self.default is None else f" DEFAULT {self.default}"
        return f'"{self.name}" {self.sql_type}{" NOT NULL" if self.required else ""}{default}'


def columns_of(
    classes: Sequence[str], key_type: str = "text", key: str = "entity key", time: str = "event time"
) -> tuple[ScoreColumn, ...]:
    """Return the columns of a score table.

    Parameters
    ----------
    classes : sequence of str
        The classes, in the order of the scores; empty for a regression.
    key_type : {"text", "bigint"}
    key, time : str
        The names of the source's columns.
    """
    return (
        ScoreColumn(
            PARTITION,
            "timestamptz",
            "Start of the partition (UTC); published as a whole, see sluice.published_partition",
        ),
        ScoreColumn(KEY, key_type, f"The source's {key}", rows="key"),
        ScoreColumn(TIME, "timestamptz", f"The source's {time}", rows=lambda batch: batch.times, in_shadow=False),
        *(
            ScoreColumn(name, "double precision", comment, rows=_score(position))
            for position, (name, comment) in enumerate(_answers(classes))
        ),
        *([ScoreColumn(LABEL, "text", "The class that is predicted", rows="label")] if classes else []),
        ScoreColumn(VERSION, "integer", "Version of the model that scored the row, see sluice.model_version"),
        ScoreColumn(SCORED_AT, "timestamptz", "When the partition was scored", default="now()"),
    )


def table_columns(spec: ModelSpec, classes: Sequence[str] | None = None) -> tuple[ScoreColumn, ...]:
    """Return the columns of the score table of a declared model.

    Parameters
    ----------
    classes : sequence of str, optional
        The classes in the order of a version's scores. They are the declared ones; these may be in another order.
    """
    order = spec.target.classes if classes is None else classes
    return columns_of(order, spec.entity_key.type, spec.entity_key.column, spec.event_time)


def answer_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the prediction columns: a probability for each class, or the value."""
    return tuple(name for name, _ in _answers(classes))


def _answers(classes: Sequence[str]) -> list[tuple[str, str]]:
    columns = class_columns(classes)
    return [(column, f"Probability of class {label}") for label, column in columns.items()] or [
        (VALUE, "The predicted value")
    ]


def _score(position: int) -> Callable[[Any], NDArray[Any]]:
    def rows(batch: Any) -> NDArray[Any]:
        scores: NDArray[Any] = batch.scores[:, position]
        return scores

    return rows
