"""The text of ``features.sql``: where its two parameters stand, and the query with their values.

PostgreSQL's own lexical rules decide what is a parameter, so that a colon in a string, a comment, a cast or the bounds
of an array is left alone. This is the one place that reads or changes the text of a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

PARAMETERS: Final = (":period_start", ":period_end")

_IDENTIFIER: Final = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*"
_TAG: Final = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*"
# What can begin a token of interest; everything else is one character that means nothing here. The order matters:
# a prefix of a string comes before an identifier, and a cast before a parameter.
_TOKEN: Final = re.compile(
    rf"""
      (?P<line>--[^\n\r]*)
    | (?P<block>/\*)
    | (?P<escaped>[eE]')
    | (?P<quoted>(?:[bBxXnN]|[uU]&)?')
    | (?P<name>(?:[uU]&)?")
    | (?P<dollar>\$(?:{_TAG})?\$)
    | (?P<word>{_IDENTIFIER}|[0-9][A-Za-z0-9_.$\u0080-\U0010ffff]*|\$[0-9][A-Za-z0-9_$\u0080-\U0010ffff]*)
    | (?P<cast>::|:=)
    | (?P<parameter>:(?:{_IDENTIFIER}))
    | (?P<end>;)
    | (?P<space>[ \t\n\r\f\v]+)
    """,
    re.VERBOSE,
)
_COMMENT: Final = re.compile(r"/\*|\*/")
_QUOTED: Final = re.compile(r"[^']*+(?:''[^']*+)*+'")
_ESCAPED: Final = re.compile(r"[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'", re.DOTALL)
_NAME: Final = re.compile(r'[^"]*+(?:""[^"]*+)*+"')
# A string goes on after white space with a line's end in it, by the rules of its first part.
_CONTINUED: Final = re.compile(r"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+'")
_KINDS: Final = {
    "block": "a comment that is not closed",
    "escaped": "a string that is not closed",
    "quoted": "a string that is not closed",
    "name": "a quoted name that is not closed",
    "dollar": "a dollar-quoted string that is not closed",
}


class QueryTextError(ValueError):
    """The text is no single query; the message is what was found, and on which line."""

    def __init__(self, found: str, line: int | None = None) -> None:
        super().__init__(found)
        self.line = line


class _Token(NamedTuple):
    kind: str
    start: int
    end: int


def decode_query(content: bytes) -> str:
    """Return the text of a file, without a byte order mark.

    Raises
    ------
    QueryTextError
        When it is not UTF-8, or holds a null character, which PostgreSQL does not accept.
    """
    try:
        query = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise QueryTextError(f"byte {error.start + 1}, which is not UTF-8; save the file as UTF-8", line) from None
    if "\0" in query:
        line = _line(query, query.index(chr(0)))
        raise QueryTextError(f"a null character in line {line}; remove it", line)
    return query


def query_parameters(query: str) -> tuple[str, ...]:
    """Return those of `PARAMETERS` that `query` uses, each once.

    Raises
    ------
    QueryTextError
        When it is not one query: there is more after its semicolon, or a string or a comment is not closed.
    """
    _, found = _parse(query)
    used = {query[token.start : token.end] for token in found}
    return tuple(name for name in PARAMETERS if name in used)


def colon_names(query: str) -> list[tuple[str, int]]:
    """Return what begins with a colon and is no parameter, such as ``:period_sart``, each with its line.

    The bound of an array, as in ``a[1:n]``, looks the same.

    Raises
    ------
    QueryTextError
        See `query_parameters`.
    """
    found = ((query[token.start : token.end], token.start) for token in _tokens(query) if token.kind == "other")
    return [(text, _line(query, at)) for text, at in found if len(text) > 1 and text.startswith(":")]


def bind_period(query: str, start: datetime, end: datetime) -> str:
    """Return `query` with the two ends of a period in place of its parameters, as times with their type.

    A semicolon at its end, and what follows it, is left out, so that the result can stand within brackets that are
    closed on a line of their own. The values are written as literals: COPY, which reads the rows, takes no parameters.

    Raises
    ------
    QueryTextError
        See `query_parameters`.
    """
    values = {name: _literal(moment) for name, moment in zip(PARAMETERS, (start, end), strict=True)}
    return _replace(query, values)


def offset_in_query(query: str, start: datetime, end: datetime, offset: int) -> int:
    """Return which character of `query` is the one at `offset` in what `bind_period` returns."""
    values = {name: _literal(moment) for name, moment in zip(PARAMETERS, (start, end), strict=True)}
    offset += len(query) - len(query.lstrip())
    longer = 0
    for token in _parse(query)[1]:
        value = values[query[token.start : token.end]]
        if offset < token.start + longer + len(value):
            return min(offset - longer, token.start) if offset < token.start + longer else token.start
        longer += len(value) - (token.end - token.start)
    return min(offset - longer, len(query))


def line_at(query: str, offset: int) -> int:
    """Return the number of the line of a character."""
    return _line(query, offset)


def same_query(query: str, other: str) -> bool:
    """Return whether two texts differ at most in comments, space, a semicolon at the end, and the case of words.

    Raises
    ------
    QueryTextError
        See `query_parameters`.
    """
    return _significant(query) == _significant(other)


def _significant(query: str) -> list[str]:
    skipped, quoted = ("space", "line", "block", "end"), ("escaped", "quoted", "name", "dollar")
    words = ((token.kind, query[token.start : token.end]) for token in _tokens(query) if token.kind not in skipped)
    return [text if kind in quoted else text.lower() for kind, text in words]


def _literal(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat()}'"


def _replace(query: str, values: Mapping[str, str]) -> str:
    length, found = _parse(query)
    parts, at = [], 0
    for token in found:
        parts += [query[at : token.start], values[query[token.start : token.end]]]
        at = token.end
    return "".join([*parts, query[at:length]]).strip()


def _parse(query: str) -> tuple[int, list[_Token]]:
    """Return where the query ends, and the tokens that are parameters."""
    found: list[_Token] = []
    end: int | None = None
    for token in _tokens(query):
        if token.kind in ("space", "line", "block"):
            continue
        if end is not None:
            if token.kind == "end":
                continue
            line = _line(query, token.start)
            raise QueryTextError(f"another statement after the semicolon, in line {line}", line)
        if token.kind == "end":
            end = token.start
        elif token.kind == "parameter":
            found.append(token)
    return len(query) if end is None else end, found


def _tokens(query: str) -> Iterator[_Token]:
    at = 0
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None:
            yield _Token("other", at, at + 1)
            at += 1
            continue
        kind, start = str(match.lastgroup), at
        at = _end_of(query, kind, match)
        if kind == "parameter" and query[start:at] not in PARAMETERS:
            kind = "other"
        yield _Token(kind, start, at)


def _end_of(query: str, kind: str, match: re.Match[str]) -> int:
    """Return where the token that begins with `match` ends."""
    if kind not in _KINDS:
        return match.end()
    at: int | None
    if kind == "block":
        at = _end_of_comment(query, match.end())
    elif kind == "dollar":
        closing = query.find(match.group(), match.end())
        at = None if closing < 0 else closing + len(match.group())
    elif kind == "name":
        at = _end_after(_NAME, query, match.end())
    else:
        at = _end_of_string(query, match.end(), _ESCAPED if kind == "escaped" else _QUOTED)
    if at is None:
        line = _line(query, match.start())
        raise QueryTextError(f"{_KINDS[kind]}, from line {line} on", line)
    return at


def _end_after(pattern: re.Pattern[str], query: str, at: int) -> int | None:
    match = pattern.match(query, at)
    return None if match is None else match.end()


def _end_of_string(query: str, at: int, rest: re.Pattern[str]) -> int | None:
    end = _end_after(rest, query, at)
    while end is not None:
        continued = _CONTINUED.match(query, end)
        if continued is None:
            return end
        end = _end_after(rest, query, continued.end())
    return None


def _end_of_comment(query: str, at: int) -> int | None:
    """Return where a comment ends that was opened before `at`: comments are nested."""
    depth = 1
    for match in _COMMENT.finditer(query, at):
        depth += 1 if match.group() == "/*" else -1
        if not depth:
            return match.end()
    return None


def _line(query: str, at: int) -> int:
    return query.count("\n", 0, at) + 1
