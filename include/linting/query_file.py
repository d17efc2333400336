"""All faults of the text of a ``features.sql`` that are seen without a database."""

from __future__ import annotations

from pathlib import Path

from include.errors import Finding, near_name
from include.spec.features_query import PARAMETERS, QueryTextError, colon_names, decode_query, query_parameters


def read_query_file(file: Path) -> list[Finding]:
    """Find what is wrong with the text of a ``features.sql``."""
    if not file.is_file():
        hint = "Write the query that returns the model's rows."
        return [Finding(file, "expected a query beside spec.py; found no such file", hint, field="features.sql")]
    try:
        query = decode_query(file.read_bytes())
        used = query_parameters(query)
    except QueryTextError as error:
        sentence = f"expected one query in UTF-8; found {error}"
        return [Finding(file, sentence, line=error.line, field="features.sql")]
    except OSError as error:
        return [Finding(file, f"expected a file that can be read; found: {error.strerror}", field="features.sql")]
    misspelt = {near: (name, line) for name, line in colon_names(query) if (near := near_name(name, PARAMETERS))}
    return [_missing(file, query, each, misspelt.get(each)) for each in PARAMETERS if each not in used]


def _missing(file: Path, query: str, parameter: str, misspelt: tuple[str, int] | None) -> Finding:
    if misspelt is not None:
        sentence = f"expected a query that binds {parameter}; found '{misspelt[0]}'"
        return Finding(file, sentence, f"Write {parameter}.", misspelt[1], parameter)
    sentence = (
        f"expected a query that binds {parameter}; found a query that does not (in a string, a comment or after :: it "
        "is no parameter)"
    )
    last = query.rstrip().count("\n") + 1
    sign = ">=" if parameter == PARAMETERS[0] else "<"
    return Finding(file, sentence, f"Let it return only rows whose event time is {sign} {parameter}.", last, parameter)
