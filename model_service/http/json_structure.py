"""Counts members and levels of JSON before it is parsed: in C, in a time that grows with the bytes alone.

JSON has backslashes in strings only, and a string lies between two quotes. So the marks outside of strings are found
without a parser. Of text that is no JSON the counts mean nothing; the parser refuses it.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_service.http.errors import MalformedBodyError, PayloadTooLargeError

MAX_DIGITS: Final = 400  # of a number; the largest that double precision has takes 309
_LARGE: Final = 64 * 1024  # smaller documents cannot hold enough digits to matter
_BEGINNING: Final = 1024 * 1024
_QUOTE: Final = 0x22
_MEMBERS: Final = b':"'
_OBJECTS: Final = b'{"'
_COMMAS: Final = b',"'
_LEVELS: Final = b'[]{}"'


def count_members(body: bytes, expected: int) -> int:
    """Return how many members the objects of a document have together.

    Parameters
    ----------
    body : bytes
    expected : int
        The most that matters. To count all colons, those in strings among them, is faster, and enough if they are not
        more: no member is without one. Of more members than these, not all may be counted.
    """
    colons = body.count(b":")
    return colons if colons <= expected else _count_outside(body, _MEMBERS, expected)


def count_objects(body: bytes, expected: int) -> int:
    """Return how many objects a document has; see `count_members`."""
    braces = body.count(b"{")
    return braces if braces <= expected else _count_outside(body, _OBJECTS, expected)


def count_commas(body: bytes, expected: int) -> int:
    """Return how many values a document has beside the first ones of its lists and objects; see `count_members`."""
    commas = body.count(b",")
    return commas if commas <= expected else _count_outside(body, _COMMAS, expected)


def _count_outside(body: bytes, marks: bytes, expected: int) -> int:
    """Count marks outside of strings; if the beginning of a long body already has more than expected, only there."""
    if len(body) > 2 * _BEGINNING:
        found = len(_outside_strings(body[:_BEGINNING], marks))
        if found > expected:
            return found
    return len(_outside_strings(body, marks))


def check_depth(
    body: bytes, max_depth: int, max_rows: int | None = None, setting: str = "SLUICE_SERVICE_MAX_ROWS"
) -> None:
    """Refuse JSON that is nested deeper than `max_depth`, or has far more lists and objects than `max_rows` rows are.

    A list or an object takes two bytes of a body, and a hundred times as many in memory; `setting` names the limit.

    Raises
    ------
    MalformedBodyError
        If the body is nested deeper.
    PayloadTooLargeError
        If it has more lists and objects.
    """
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    brackets = _outside_strings(body, _LEVELS)
    # Of the four, only "[" (0x5B) and "{" (0x7B) have the bit of two: one level up; the others, one down.
    steps = (brackets & 0x02).astype(np.int8) - 1
    if np.cumsum(steps, dtype=np.int32).max(initial=0) > max_depth:
        raise MalformedBodyError(
            f"expected at most {max_depth} levels of nesting; found more (SLUICE_SERVICE_MAX_DEPTH)"
        )
    if max_rows is not None and len(brackets) > 2 * (max_rows + max_depth):
        raise PayloadTooLargeError("rows (lists and objects)", max_rows, setting)


def check_digits(body: bytes) -> None:
    """Refuse a number of more than `MAX_DIGITS` digits: to parse it takes a time that grows with their square.

    Raises
    ------
    MalformedBodyError
    """
    if len(body) < _LARGE:
        return
    zeros = body.translate(_DIGITS_TO_ZERO)
    start = end = quotes = 0
    while (start := zeros.find(_TOO_LONG, end)) >= 0:
        before = body[end:start].replace(b"\\\\", b"")
        quotes += before.count(b'"') - before.count(b'\\"')
        if quotes % 2 == 0:  # outside of strings
            raise MalformedBodyError(f"expected numbers of at most {MAX_DIGITS} digits; found a longer one")
        after = _NO_DIGIT.search(body, start)
        end = after.start() if after else len(body)


_TOO_LONG: Final = b"0" * (MAX_DIGITS + 1)
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"123456789", b"0" * 9)
_NO_DIGIT: Final = re.compile(rb"[^0-9]")


def _outside_strings(body: bytes, marks: bytes) -> NDArray[np.uint8]:
    """Return those of `marks`, a quote among them, that are in no string, in their order and without the quotes."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    others = _OTHERS[marks]
    found = np.frombuffer(body.translate(None, others), dtype=np.uint8)
    quotes = found == _QUOTE
    # An even number of quotes before a mark: it is outside. Eight bits are enough for what is odd.
    outside = (np.cumsum(quotes, dtype=np.uint8) & 1) == 0
    kept: NDArray[np.uint8] = found[outside & ~quotes]
    return kept


_OTHERS: Final = {
    marks: bytes(each for each in range(256) if each not in marks) for marks in (_MEMBERS, _OBJECTS, _COMMAS, _LEVELS)
}
