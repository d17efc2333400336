"""A digest of the source rows of a partition, computed by PostgreSQL: it tells later whether they have changed.

The digest is of what scoring reads: the key, the event time and the features, each in the type that its feature has.
The target is not part of it: labels come later, and change no score. Each row is hashed to two 64-bit numbers, which
are added. So the order of the rows does not matter, and a row that occurs twice counts twice (an exclusive or would
lose it). The position of a value in its row and the row that it is in both matter: values that are swapped are found.

Hash functions of PostgreSQL are the same in all its major versions since 11, because hash partitions depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from include.spec import FeatureQuery

_PREFIX: Final = "rows128:"
_MODULUS: Final = 1 << 64
_SEEDS: Final = (0x2545F4914F6CDD1D, 0x5E6F9B12C4A8D377)  # odd, and positive as bigint


class SourceDigest(NamedTuple):
    """How many rows there are, and a digest of them: equal digests mean equal rows."""

    rows: int
    digest: str

    @classmethod
    def of_sums(cls, rows: int, first: str, second: str) -> SourceDigest:
        """Return the digest from the one row that `digest_query` gives."""
        return cls(rows, f"{_PREFIX}{int(first) % _MODULUS:016x}{int(second) % _MODULUS:016x}")


def digest_query(query: FeatureQuery, rows: str) -> str:
    """Return the statement that counts rows and adds up their hashes, as one row with three columns.

    Parameters
    ----------
    query : FeatureQuery
        Says which columns there are.
    rows : str
        What to read, ready for SQL: a table, or a query in brackets.
    """
    # PostgreSQL adds up the hashes of a row's columns, each times a power of 31. Were these sums added up over the
    # rows, two rows could swap a value unnoticed; so each is hashed again, as text: the hash of a bigint has 32 bits.
    row = f"ROW({', '.join(_columns(query))})"
    hashes = (f"hashtextextended(hash_record_extended({row}, {seed})::text, {seed})" for seed in _SEEDS)
    sums = ", ".join(f"coalesce(sum({each}), 0)::text AS sum{number}" for number, each in enumerate(hashes, 1))
    return f"SELECT count(*) AS rows, {sums} FROM {rows} AS rows"  # noqa: S608  # identifiers that ModelSpec checked


def _columns(query: FeatureQuery) -> Iterator[str]:
    yield _hashable(query.entity_key.column, query.entity_key.type)
    # As a time it is hashed to 32 bits only.
    yield f'"{query.event_time}"::timestamptz'
    yield f"date_part('epoch', \"{query.event_time}\"::timestamptz)"
    for feature in query.features:
        yield _hashable(feature.name, feature.sql_type)


def _hashable(column: str, sql_type: str) -> str:
    """Return the SQL expression of a column of which every value that differs has another hash."""
    if sql_type == "text":
        return f'"{column}"::text COLLATE "C"'  # another collation may take different texts for equal
    if sql_type == "bigint":
        # The hash of a bigint has 32 bits, and that of a numeric leaves out the sign.
        return f'"{column}"::bigint::text COLLATE "C"'
    return f'"{column}"::{sql_type}'
