"""Counts members, values and levels of JSON before it is parsed: in C, in a time that grows with the bytes alone.

JSON has backslashes in strings only, and a string lies between two quotes. So the marks outside of strings are found
without a parser. Of text that is no JSON the counts mean nothing; the parser refuses it.

A body is looked at in pieces, for two reasons. Work in C holds the interpreter until it ends, so other requests wait
for a piece instead of for the whole body. And what is refused is refused at the piece that has too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_service.http.errors import MalformedBodyError, PayloadTooLargeError

MAX_DIGITS: Final = 400  # of a number; the largest that double precision has takes 309
PIECE_BYTES: Final = 64 * 1024  # of a body, to be worked on at once
LARGE_BYTES: Final = 64 * 1024  # smaller documents cannot hold enough digits to matter
_FEW_QUOTES: Final = 32  # so many bytes for each quote: splitting is then faster than arithmetic
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
    return _count(body, _MEMBERS, expected)


def count_objects(body: bytes, expected: int) -> int:
    """Return how many objects a document has; see `count_members`."""
    return _count(body, _OBJECTS, expected)


def count_commas(body: bytes, expected: int) -> int:
    """Return how many values a document has beside the first ones of its lists and objects; see `count_members`."""
    return _count(body, _COMMAS, expected)


def count_openings(body: bytes) -> int:
    """Return how many brackets and braces open in a body, those in strings among them."""
    return _occurrences(body, b"[") + _occurrences(body, b"{")


def _occurrences(body: bytes, byte: bytes) -> int:
    if len(body) <= PIECE_BYTES:
        return body.count(byte)
    return sum(piece.count(byte) for piece in _pieces(body))


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
    if count_openings(body) <= max_depth:
        return
    level = count = 0
    for piece in _outside_strings(body, _LEVELS):
        brackets = np.frombuffer(piece, dtype=np.uint8)
        # Of the four, only "[" (0x5B) and "{" (0x7B) have the bit of two: one level up; the others, one down.
        levels = np.cumsum((brackets & 0x02).astype(np.int8) - 1, dtype=np.int32)
        if level + int(levels.max(initial=0)) > max_depth:
            raise MalformedBodyError(
                f"expected at most {max_depth} levels of nesting; found more (SLUICE_SERVICE_MAX_DEPTH)"
            )
        level += int(levels[-1]) if len(levels) else 0
        count += len(brackets)
        if max_rows is not None and count > 2 * (max_rows + max_depth):
            raise PayloadTooLargeError("rows (lists and objects)", max_rows, setting)


def check_digits(body: bytes) -> None:
    """Refuse a number of more than `MAX_DIGITS` digits: to parse it takes a time that grows with their square.

    Raises
    ------
    MalformedBodyError
    """
    if len(body) < LARGE_BYTES or not _has_long_run(body):
        return
    before = b""
    for piece in _outside_strings(body, None):
        zeros = before + piece.translate(_DIGITS_TO_ZERO)
        if _TOO_LONG in zeros:
            raise MalformedBodyError(f"expected numbers of at most {MAX_DIGITS} digits; found a longer one")
        before = zeros[len(zeros.rstrip(b"0")) :]


_TOO_LONG: Final = b"0" * (MAX_DIGITS + 1)
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"123456789", b"0" * 9)


def _has_long_run(body: bytes) -> bool:
    """Return whether more than `MAX_DIGITS` digits follow each other anywhere, also in strings."""
    starts = range(0, len(body), PIECE_BYTES)
    return any(
        _TOO_LONG in body[start : start + PIECE_BYTES + MAX_DIGITS].translate(_DIGITS_TO_ZERO) for start in starts
    )


def _count(body: bytes, marks: bytes, expected: int) -> int:
    found = _occurrences(body, marks[:1])
    if found <= expected:
        return found
    found = 0
    for piece in _outside_strings(body, marks):
        found += len(piece)
        if found > expected:
            break
    return found


def _outside_strings(body: bytes, marks: bytes | None) -> Iterator[bytes]:
    """Yield what is in no string, piece by piece and without the quotes: the `marks` only, a quote among them, or all.

    A string is replaced by nothing, or by a space if all is yielded: what was apart stays apart.
    """
    others = b"" if marks is None else _OTHERS[marks]
    between = b" " if marks is None else b""
    inside = False
    for piece in _without_escapes(body):
        found = piece.translate(None, others) if others else piece
        quotes = found.count(b'"')
        if quotes * _FEW_QUOTES <= len(found) or marks is None:
            yield between.join(found.split(b'"')[inside::2])
        else:
            yield _outside_by_parity(np.frombuffer(found, dtype=np.uint8), inside)
        inside ^= quotes % 2 == 1


def _outside_by_parity(found: NDArray[np.uint8], inside: bool) -> bytes:
    """Return the marks before which there is an even number of quotes; after an odd one, if the piece begins inside."""
    quotes = found == _QUOTE
    # Eight bits are enough for what is odd.
    outside = (np.cumsum(quotes, dtype=np.uint8) & 1) == int(inside)
    kept: NDArray[np.uint8] = found[outside & ~quotes]
    return kept.tobytes()


def _without_escapes(body: bytes) -> Iterator[bytes]:
    """Yield the pieces of a body without escaped backslashes and quotes: each quote left begins or ends a string."""
    if b"\\" not in body:
        yield from _pieces(body)
        return
    carried = b""
    for each in _pieces(body):
        piece = carried + each
        # A backslash whose next byte is in the next piece belongs there: the last one of an odd number.
        odd = (len(piece) - len(piece.rstrip(b"\\"))) % 2
        carried = b"\\" if odd else b""
        piece = piece[: len(piece) - odd]
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        yield piece


def _pieces(body: bytes) -> Iterator[bytes]:
    if len(body) <= PIECE_BYTES:
        yield body
        return
    for start, end in pairwise([*range(0, len(body), PIECE_BYTES), len(body)]):
        yield body[start:end]


_OTHERS: Final = {
    marks: bytes(each for each in range(256) if each not in marks) for marks in (_MEMBERS, _OBJECTS, _COMMAS, _LEVELS)
}
