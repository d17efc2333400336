"""A CSV file as a table: read and checked line by line, types inferred from all values, loaded with COPY."""

from __future__ import annotations

import contextlib
import csv
import math
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine

from include.errors import SluiceError, SourceTableError
from include.models.skeleton import check_new_model
from include.onboarding.declaration import Onboarded, choose_key, declare
from include.onboarding.names import identifier, printable
from include.onboarding.reading import MAX_COLUMNS, read_profile, readable
from include.onboarding.records import ProposalOptions, TableProfile, TimeFromOrder
from include.schedule import parse_moment
from include.warehouse.samples import check_new_table

NULLS: Final = frozenset({"", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null"})
DELIMITERS: Final = (",", ";", "\t", "|")
_BLOCK: Final = 1_000  # rows whose fields fit into the cache of a processor
_NULL: Final = r"\N"  # of the text format of COPY
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_HEADER_BYTES: Final = 1 << 20
_STEP: Final = re.compile(r"([1-9]\d{0,6})\s*(s|min|h|d|w)")
_STEPS: Final = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
# Of many values at once, each with a line break behind it. Nothing is tried twice: the quantifiers are possessive.
_INTEGERS: Final = re.compile(r"(?:[+-]?+(?:0|[1-9]\d{0,17}+)\n)++", re.ASCII)
_NUMBERS: Final = re.compile(r"(?:[+-]?+(?:(?:0|[1-9]\d*+)(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d++)?+\n)++", re.ASCII)
_LONG_NUMBER: Final = 300  # shorter ones without an exponent are neither infinite nor almost zero
_DATE: Final = re.compile(r"\d{4}[-/]\d\d[-/]\d\d", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d(:\d\d([.,]\d+)?)?\s?(Z|[+-]\d\d(:?\d\d)?)?", re.ASCII)
_SLASHES: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class CsvColumn:
    """A column of a file: its name there, its name in the table, its type, and what writes a value for COPY."""

    header: str
    name: str
    type: str
    convert: Callable[[str], str] | None = None


def parse_time_from_order(given: str) -> TimeFromOrder:
    """Return the times of ``START/STEP`` or ``START/STEP/shuffled``, such as ``2026-01-01/1h``.

    Raises
    ------
    SluiceError
        When the text is something else.
    """
    start, _, rest = given.partition("/")
    step, _, order = rest.partition("/")
    match = _STEP.fullmatch(step)
    if match is not None and order in ("", "shuffled"):
        with contextlib.suppress(ValueError, OverflowError):
            step_length = timedelta(seconds=int(match[1]) * _STEPS[match[2]])
            return TimeFromOrder(parse_moment(start), step_length, order == "shuffled")
    raise SluiceError(
        "--time-from-order: expected START/STEP, such as 2026-01-01/1h (s, min, h, d or w), or START/STEP/shuffled; "
        f"found '{given}'. The first row gets the time START, each further one a STEP more."
    )


def declare_from_csv(
    engine: Engine, models_dir: Path, model: str, file: Path, options: ProposalOptions, *, command: str, now: datetime
) -> Onboarded:
    """Load a CSV file into the new table ``source.<model>``, and write the model's folder for it: both, or nothing.

    Raises
    ------
    SpecError
        When the name cannot be a model's, or the folder exists.
    SourceTableError
        When the table exists, the file is broken (with the line), or no model can be proposed for it.
    NotEnoughDataError
        When it has too few rows.
    """
    check_new_model(models_dir, model)
    check_new_table(engine, model)
    columns, rows = read_columns(file)
    folder: Path | None = None
    try:
        with engine.begin() as connection, readable(str(file)):
            key = identifier("row_id", {column.name for column in columns})
            time = identifier("event_time", {column.name for column in columns})
            _load(connection, model, file, columns, key, time, options.time_from_order)
            profile = read_profile(connection, "source", model)
            if options.time_from_order is not None and options.time is None:
                options = replace(options, time=time, time_from_order=None)
            profile, options, made = _with_key(connection, profile, options, key)
            _finish(connection, profile, key, is_needed=made)
            done = declare(connection, models_dir, model, profile, options, command=command, now=now)
            folder = done.folder
    except BaseException:
        if folder is not None:  # the rows were not committed
            shutil.rmtree(folder, ignore_errors=True)
        raise
    renamed = [f"{printable(each.header) or 'no name'} -> {each.name}" for each in columns if each.header != each.name]
    loaded = [f"loaded: {rows:,} rows and {len(columns)} columns of {file.name} into source.{model}"]
    loaded += [f"renamed: {', '.join(renamed[:20])}{', ...' if len(renamed) > 20 else ''}"] if renamed else []
    loaded += [f"made: {key}, the number of the row, since no column differs in every row"] if made else []
    return replace(done, findings=(*loaded, *done.findings))


def read_columns(file: Path) -> tuple[tuple[CsvColumn, ...], int]:
    """Read a whole file once; return its columns with the types that hold all of their values, and its rows.

    Raises
    ------
    SourceTableError
        When it is no table; the message has the line.
    """
    rows = _rows(file)
    _, header = next(rows)
    candidates = [list(_TYPES) for _ in header]
    seen = [False] * len(header)
    count = 0
    while block := [row for _, row in islice(rows, _BLOCK)]:
        count += len(block)
        for position, column in enumerate(zip(*block, strict=True)):
            values = set(column) - NULLS
            seen[position] |= bool(values)
            candidates[position] = [each for each in candidates[position] if _TYPES[each].holds(values)]
    if not count:
        raise _broken(file, 2, "rows below the names of the columns", "none", "Add rows to the file.")
    names: list[str] = []
    for position, name in enumerate(header):
        names.append(identifier(name if name.strip() else f"column {position + 1}", set(names)))
    columns = []
    for name, plain, left, has_values in zip(header, names, candidates, seen, strict=True):
        kind = left[0] if has_values and left else "text"
        if {"day first", "month first"} <= set(left[:2]) and has_values:
            kind = "text"  # 1/2/2026 is two days
        chosen = _TYPES.get(kind, _TEXT)
        columns.append(CsvColumn(name, plain, chosen.sql, chosen.convert))
    return tuple(columns), count


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and the rows of a file, each with the number of its last line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            delimiter = _delimiter(opened.read(_HEADER_BYTES))
            opened.seek(0)
            reader = csv.reader(_lines(file, opened), delimiter=delimiter, strict=True)
            yield from _checked(file, reader)
    except UnicodeDecodeError as error:
        raise _not_utf8(file, error) from None
    except OSError as error:
        raise SourceTableError(
            f"{file}: expected a CSV file that can be read; found: {error.strerror}. Nothing was written. Correct the "
            "path of --from-csv."
        ) from None


def _lines(file: Path, opened: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(opened, 1):
        if "\0" in line:
            raise _broken(file, number, "text", "a null character", "Remove it, or save the file as UTF-8.")
        yield line


def _checked(file: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    width, line = 0, 1
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            if not row:
                continue  # an empty line
            if not width:
                width = len(row)
                if width > MAX_COLUMNS:
                    raise _broken(
                        file, start, f"at most {MAX_COLUMNS:,} columns", f"{width:,}", "Leave columns out of the file."
                    )
            elif len(row) != width:
                found = f"{len(row)}, which begin with {printable(row[0])[:40]!r}"
                advice = "Correct the line: a text with a comma or a line break stands in double quotes."
                raise _broken(file, start, f"{width} fields, as in the first line", found, advice)
            yield reader.line_num, row
    except csv.Error as error:
        advice = "Close the quotes of this row; a quote within a quoted text is written twice."
        raise _broken(file, line, "a row of a CSV file", str(error), advice) from None
    if not width:
        raise _broken(file, 1, "the names of the columns", "an empty file", "Name another file with --from-csv.")


def _broken(file: Path, line: int, expected: str, found: str, advice: str) -> SourceTableError:
    return SourceTableError(f"{file}, line {line:,}: expected {expected}; found {found}. Nothing was written. {advice}")


def _not_utf8(file: Path, error: UnicodeDecodeError) -> SourceTableError:
    content = file.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _broken(
            file, 1, "text in UTF-8", "text in UTF-16", f"Convert it: iconv -f UTF-16 -t UTF-8 {file.name} > new.csv"
        )
    line = 1
    for number, each in enumerate(content.split(b"\n"), 1):
        try:
            each.decode("utf-8")
        except UnicodeDecodeError as wrong:
            line, error = number, wrong
            break
    found = f"byte 0x{error.object[error.start]:02x}, which is not UTF-8"
    advice = f"Convert it; if it is Windows or Latin-1 text: iconv -f WINDOWS-1252 -t UTF-8 {file.name} > new.csv"
    return _broken(file, line, "text in UTF-8", found, advice)


def _delimiter(beginning: str) -> str:
    """Return what divides the first line into the largest number of fields."""
    first = beginning.splitlines()[:1] or [""]
    widths = {each: len(next(csv.reader(first, delimiter=each), [])) for each in DELIMITERS}
    return max(DELIMITERS, key=widths.__getitem__)


# -- types -----------------------------------------------------------------------------------------


def _is_boolean(value: str) -> bool:
    return value.lower() in ("true", "false", "t", "f")


def _match(pattern: re.Pattern[str], values: Collection[str]) -> bool:
    """Return whether each value matches a pattern of lines; one value after the other takes three times as long."""
    lines = "\n".join(values) + "\n"
    return lines.count("\n") == len(values) and pattern.fullmatch(lines) is not None


def _are_integers(values: Collection[str]) -> bool:
    return not values or _match(_INTEGERS, values)


def _are_numbers(values: Collection[str]) -> bool:
    if not values:
        return True
    if not _match(_NUMBERS, values):
        return False
    return all(_is_representable(each) for each in values if len(each) > _LONG_NUMBER or "e" in each or "E" in each)


def _is_representable(value: str) -> bool:
    """Return whether PostgreSQL takes a number: it refuses what double precision holds as infinity, or as zero."""
    number = float(value)
    return math.isfinite(number) and (
        number != 0 or not any(digit in "123456789" for digit in value.lower().split("e")[0])
    )


def _is_date(value: str) -> bool:
    return _DATE.fullmatch(value) is not None and _parses(date.fromisoformat, value.replace("/", "-"))


def _is_moment(value: str) -> bool:
    if _DATE.fullmatch(value):
        return _is_date(value)
    return _MOMENT.fullmatch(value) is not None and _parses(datetime.fromisoformat, _iso(value))


def _is_day_first(value: str) -> bool:
    return _SLASHES.fullmatch(value) is not None and _parses(_from_day_first, value)


def _is_month_first(value: str) -> bool:
    return _SLASHES.fullmatch(value) is not None and _parses(_from_month_first, value)


def _from_day_first(value: str) -> str:
    day, month, year = map(int, value.split("/"))
    return date(year, month, day).isoformat()


def _from_month_first(value: str) -> str:
    month, day, year = map(int, value.split("/"))
    return date(year, month, day).isoformat()


def _iso(value: str) -> str:
    return value.replace("/", "-").replace(",", ".").replace(" +", "+").replace(" -", "-").replace(" Z", "Z")


def _with_zone(value: str) -> str:
    moment = datetime.fromisoformat(_iso(value))
    return moment.isoformat() if moment.tzinfo else f"{moment.isoformat()}+00:00"


def _parses(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except (ValueError, OverflowError):
        return False
    return True


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)


def _all(test: Callable[[str], object]) -> Callable[[Collection[str]], bool]:
    return lambda values: all(map(test, values))


class _Type(NamedTuple):
    """A type in SQL, whether it holds all of some values, and what writes one of them for COPY."""

    sql: str
    holds: Callable[[Collection[str]], bool]
    convert: Callable[[str], str] | None = None


_TEXT: Final = _Type("text", lambda _: True, _escaped)
# By the name of what the values are, the narrowest first.
_TYPES: Final[Mapping[str, _Type]] = {
    "boolean": _Type("boolean", _all(_is_boolean)),
    "integer": _Type("bigint", _are_integers),
    "number": _Type("double precision", _are_numbers),
    "date": _Type("date", _all(_is_date), lambda value: value.replace("/", "-")),
    "moment": _Type("timestamptz", _all(_is_moment), _with_zone),
    "day first": _Type("date", _all(_is_day_first), _from_day_first),
    "month first": _Type("date", _all(_is_month_first), _from_month_first),
}


# -- loading ---------------------------------------------------------------------------------------


def _load(
    connection: Connection,
    model: str,
    file: Path,
    columns: tuple[CsvColumn, ...],
    key: str,
    time: str,
    order: TimeFromOrder | None,
) -> None:
    definitions = ", ".join(f'"{column.name}" {column.type}' for column in columns)
    raw = f'CREATE TEMPORARY TABLE loaded_rows ("{key}" bigint, {definitions}) ON COMMIT DROP'
    connection.exec_driver_sql(raw)
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101  # the transaction is open
    with driver.cursor() as cursor, cursor.copy("COPY loaded_rows FROM STDIN") as copy:
        for block in _copied(file, columns):
            copy.write(block)
    made = ""
    if order is not None:
        by = f'md5("{key}"::text) COLLATE "C"' if order.shuffled else f'"{key}"'
        made = (
            f"TIMESTAMPTZ '{order.start.isoformat()}' + (row_number() OVER (ORDER BY {by}) - 1) * {order.seconds} "
            f'AS "{time}", '
        )
    listed = ", ".join(f'"{column.name}"' for column in columns)
    connection.exec_driver_sql(
        f'CREATE TABLE source."{model}" AS SELECT "{key}", {made}{listed} FROM loaded_rows ORDER BY "{key}"',  # noqa: S608 (identifiers)
        execution_options={"no_parameters": True},
    )


def _copied(file: Path, columns: tuple[CsvColumn, ...]) -> Iterator[str]:
    """Yield the rows in the text format of COPY, each with its number before the fields; many at once."""
    rows = _rows(file)
    next(rows)
    first = 1
    while block := [row for _, row in islice(rows, _BLOCK)]:
        fields = [
            [_NULL if value in NULLS else value for value in values]
            if column.convert is None
            else [_NULL if value in NULLS else column.convert(value) for value in values]
            for values, column in zip(zip(*block, strict=True), columns, strict=True)
        ]
        numbers = map(str, range(first, first + len(block)))
        yield "".join(map("{}\n".format, map("\t".join, zip(numbers, *fields, strict=True))))
        first += len(block)


def _with_key(
    connection: Connection, profile: TableProfile, options: ProposalOptions, key: str
) -> tuple[TableProfile, ProposalOptions, bool]:
    """Return the profile, the options and whether the number of the row is needed as the key."""
    without = replace(profile, columns=tuple(column for column in profile.columns if column.name != key))
    try:
        _, candidate = choose_key(connection, without, options)
    except SourceTableError:
        if options.key:
            raise
        # Without an event time, this raises the error that says so.
        choose_key(connection, profile, replace(options, key=(key,)))
        return profile, replace(options, key=(key,)), True
    if not candidate.columns:
        return profile, replace(options, key=(key,)), True
    return without, options, False


def _finish(connection: Connection, profile: TableProfile, key: str, *, is_needed: bool) -> None:
    """Make the number of the row the primary key, or remove it; and index each time."""
    change = f'ADD PRIMARY KEY ("{key}")' if is_needed else f'DROP COLUMN "{key}"'
    connection.exec_driver_sql(f"ALTER TABLE {profile.quoted} {change}")
    for column in profile.columns:
        if column.type == "timestamp with time zone":
            connection.exec_driver_sql(f"CREATE INDEX ON {profile.quoted} ({column.quoted})")
    connection.exec_driver_sql(f"ANALYZE {profile.quoted}")
