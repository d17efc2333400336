"""``features.sql`` as the database reads it: every name that it does not have, and the columns that the query gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, LiteralString

import psycopg

from include.checking.places import Places
from include.errors import Finding, MissingGrantError, SourceQueryError, did_you_mean, near_name
from include.sessions import libpq_url
from include.spec import FeatureQuery, ModelSpec
from include.validation.contract import declared_columns
from include.warehouse.feature_source import PostgresFeatureSource, refused_at

MAX_FAULTS: Final = 20
_COLUMN_NAME: Final = re.compile(r'(?:"(?:[^"]|"")+"|[\w$]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[\w$]+))*')
_UNNAMED: Final = "?column?"
_RELATIONS: Final[LiteralString] = """
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
"""


def check_query(query: FeatureQuery, places: Places, url: str) -> tuple[list[Finding], dict[str, str]]:
    """Let the database plan the query; return what it refuses, and the query's columns with their types.

    PostgreSQL names one fault at a time. A column that does not exist is replaced by NULL, and the query planned again.

    Parameters
    ----------
    url : str
        Of a session that only reads.

    Raises
    ------
    DatabaseError
        When the database does not answer.
    """
    findings: list[Finding] = []
    planned = query
    for _ in range(MAX_FAULTS):
        try:
            return findings, PostgresFeatureSource(url).columns(planned)
        except MissingGrantError as error:
            sentence = (
                f"expected a source that the role {error.role} may read; found: permission denied for {error.denied}"
            )
            granted = "; ".join(error.statements)
            return [places.query(planned.text, None, sentence, f"Its owner runs: {granted};")], {}
        except SourceQueryError as error:
            cause, offset = refused_at(planned, error)
            sentence, hint = _explained(cause, planned.text, offset, url)
            findings.append(
                places.query(planned.text, offset, sentence, hint, feature=_column_at(cause, planned, offset))
            )
            name = None if offset is None else _COLUMN_NAME.match(planned.text, offset)
            if cause.sqlstate != "42703" or name is None:
                break
            lines = "\n" * name.group().count("\n")
            planned = replace(planned, text=f"{planned.text[: name.start()]}NULL{lines}{planned.text[name.end() :]}")
    return findings, {}


def check_columns(
    spec: ModelSpec, query: FeatureQuery, found: Mapping[str, str], places: Places, *, types: bool
) -> list[Finding]:
    """Compare the columns of the query with the declared ones.

    Parameters
    ----------
    found : mapping of str to str
        The columns with their types, as the database has them.
    types : bool
        Whether the types are those of the query itself; not if a column of it was replaced.
    """
    declared = {column.name: column.types for column in declared_columns(query, "train")}
    surplus = [name for name in found if name not in declared and name != _UNNAMED]
    sql_types = {feature.name: feature.sql_type for feature in spec.features}
    findings = []
    meant = set()
    for name, wanted in declared.items():
        if name in found:
            if types and found[name] not in wanted:
                sentence = f"expected type {' or '.join(wanted)} of the query's column; found {found[name]}"
                hint = f"Cast it in features.sql: {name}::{sql_types.get(name, wanted[0])}."
                findings.append(places.column(spec, name, sentence, hint))
            continue
        if _UNNAMED in found:
            continue
        near = near_name(name, surplus)
        meant.add(near)
        sentence = f"expected a column '{name}' in the result of features.sql; found only {', '.join(found)}"
        hint = did_you_mean(name, surplus) or "Add it to features.sql, or take it out of spec.py."
        findings.append(places.column(spec, name, sentence, hint))
    findings += [
        places.query_column(
            query.text,
            name,
            f"expected only declared columns; found '{name}'",
            "Declare a feature of this name in spec.py, or take the column out of features.sql.",
        )
        for name in surplus
        if name not in meant
    ]
    return findings


def _column_at(error: psycopg.Error, query: FeatureQuery, offset: int | None) -> str | None:
    if error.sqlstate != "42703" or offset is None:
        return None
    name = _COLUMN_NAME.match(query.text, offset)
    return None if name is None else name.group().rpartition(".")[2].strip(' "')


def _explained(error: psycopg.Error, query: str, offset: int | None, url: str) -> tuple[str, str]:
    """Return a sentence and a hint about what PostgreSQL refused."""
    said = (error.diag.message_primary or str(error).strip() or type(error).__name__).splitlines()[0]
    name = None if offset is None else _COLUMN_NAME.match(query, offset)
    if error.sqlstate == "42703" and name is not None:
        suggested = re.search(r'"([^"]+)"', error.diag.message_hint or "")
        hint = f"Did you mean '{suggested[1].rpartition('.')[2]}'?" if suggested else "Correct the name of the column."
        return f"expected a column that exists; found '{name.group()}'", hint
    if error.sqlstate == "42P01" and name is not None:
        hint = did_you_mean(name.group(), _names(url, _RELATIONS)) or "Correct the name, or load the table first."
        return f"expected a table or view that exists; found '{name.group()}'", hint
    if error.sqlstate == "42601":
        return (
            f"expected SQL that PostgreSQL can read; found: {said}",
            "Other faults of the query are found without it.",
        )
    return f"expected a query that runs; found: {said}", error.diag.message_hint or ""


def _names(url: str, statement: LiteralString) -> list[str]:
    with psycopg.connect(libpq_url(url)) as connection:
        return [name for (name,) in connection.execute(statement).fetchall()]
