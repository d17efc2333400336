"""Counts levels, members and values of JSON before it is parsed: in C, in a time that grows with the bytes alone.

JSON has backslashes in strings only, and a string lies between two quotes. So the marks outside of strings are found
without a parser. Of text that is no JSON the counts mean nothing; the parser refuses it.

A body is looked at in pieces, for two reasons. Work in C holds the interpreter until it ends, so other requests wait
for a piece instead of for the whole body. And what is refused is refused at the piece that has too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_service.http.errors import MalformedBodyError, PayloadTooLargeError

MAX_DIGITS: Final = 400  # of a number; the largest that double precision has takes 309
PIECE_BYTES: Final = 64 * 1024  # of a body, to be worked on at once
COUNTED_BYTES: Final = 4 * PIECE_BYTES  # of a body in which one byte may be counted at once: 0.1 ms
SMALL_BYTES: Final = 1_000  # of a body that cannot have much of anything
# An object of a valid body has at most as many members as the model has features. An invalid one may have so many more,
# in the whole body, that each is reported; beyond that, they are counted only. So are the values of lists.
MAX_MEMBERS: Final = 1_000
LARGE_BYTES: Final = 64 * 1024  # of a body that has room for a number whose digits take long
_FEW_QUOTES: Final = 32  # so many bytes for each quote: splitting is then faster than arithmetic
_QUOTE: Final = 0x22
_MARKS: Final = b'[]{}:,"'
_ALL_OTHERS: Final = bytes(each for each in range(256) if each not in _MARKS)
_UNBOUNDED: Final = 2**62


@dataclass(frozen=True, slots=True)
class Structure:
    """What a document has outside of its strings.

    Attributes
    ----------
    levels : int
        Of lists and objects in each other.
    lists, objects : int
    members : int
        Of all objects together.
    commas : int
        The values beside the first ones of lists and objects.
    """

    levels: int
    lists: int
    objects: int
    members: int
    commas: int

    @property
    def openings(self) -> int:
        """Number of lists and objects."""
        return self.lists + self.objects

    def excess(self, width: int) -> tuple[str, int, int] | None:
        """Return what is far more than a document of rows has, with its limit and count; None if nothing is.

        Each object has at most `width` members, and each list and object at most so many values. `MAX_MEMBERS` more
        are parsed, so that errors can be reported. What holds for a document holds for its beginning.
        """
        limit = MAX_MEMBERS + width * self.objects
        if self.members > limit:
            return "members", limit, self.members
        limit = MAX_MEMBERS + (width + 1) * self.openings
        if self.commas > limit:
            return "values", limit, self.commas
        return None


def read_structure(
    body: bytes, max_levels: int = _UNBOUNDED, max_openings: int = _UNBOUNDED, width: int = _UNBOUNDED
) -> Structure:
    """Count what a document has; the counts of one that exceeds a limit end at the piece in which it does."""
    level = deepest = 0
    lists = objects = members = commas = 0
    found = Structure(0, 0, 0, 0, 0)
    for marks in _outside_strings(body, _ALL_OTHERS):
        lists, objects = lists + marks.count(b"["), objects + marks.count(b"{")
        members, commas = members + marks.count(b":"), commas + marks.count(b",")
        brackets = np.frombuffer(marks.translate(None, b":,"), dtype=np.int8)
        if len(brackets):
            # Only "[" (0x5B) and "{" (0x7B) have the bit of two: one level up. The others, one level down.
            levels = np.cumsum((brackets & 0x02) - 1, dtype=np.int32)
            deepest = max(deepest, level + int(levels.max()))
            level += int(levels[-1])
        found = Structure(deepest, lists, objects, members, commas)
        if deepest > max_levels or found.openings > max_openings or found.excess(width):
            break
    return found


def bound_structure(body: bytes) -> Structure:
    """Count the marks of a body of at most `COUNTED_BYTES`, in strings or not: its structure never has more."""
    lists, objects, members, commas = (body.count(mark) for mark in (b"[", b"{", b":", b","))
    return Structure(lists + objects, lists, objects, members, commas)


def check_depth(
    body: bytes,
    max_depth: int,
    max_rows: int | None = None,
    setting: str = "SLUICE_SERVICE_MAX_ROWS",
    width: int = _UNBOUNDED,
) -> Structure | None:
    """Refuse JSON that is nested deeper than `max_depth`, or has far more lists and objects than `max_rows` rows are.

    A list or an object takes two bytes of a body, and a hundred times as many in memory; `setting` names the limit. The
    structure of a body with far more members or values than rows of this `width` have is not read to the end.

    Returns
    -------
    Structure or None
        None for a body of at most `COUNTED_BYTES` that has fewer lists and objects than `max_depth`, in strings or not.

    Raises
    ------
    MalformedBodyError
        If the body is nested deeper.
    PayloadTooLargeError
        If it has more lists and objects.
    """
    if len(body) <= COUNTED_BYTES and body.count(b"[") + body.count(b"{") <= max_depth:
        return None
    max_openings = _UNBOUNDED if max_rows is None else max_rows + max_depth
    structure = read_structure(body, max_depth, max_openings, width)
    if structure.levels > max_depth:
        raise MalformedBodyError(
            f"expected at most {max_depth} levels of nesting; found more (SLUICE_SERVICE_MAX_DEPTH)"
        )
    if structure.openings > max_openings:
        raise PayloadTooLargeError("rows (lists and objects)", max_rows or 0, setting)
    return structure


def count_members(body: bytes, expected: int, structure: Structure | None = None) -> int:
    """Return how many members the objects of a document have together.

    Parameters
    ----------
    body : bytes
    expected : int
        The most that matters. To count all colons of a small body, those in strings among them, is faster, and enough
        if they are not more: no member is without one.
    structure : Structure, optional
        Of the body, if it is known.
    """
    if structure is None:
        colons = body.count(b":") if len(body) <= COUNTED_BYTES else expected + 1
        if colons <= expected:
            return colons
        structure = read_structure(body)
    return structure.members


def check_digits(body: bytes) -> None:
    """Refuse a number of more than `MAX_DIGITS` digits: to parse it takes a time that grows with their square.

    Raises
    ------
    MalformedBodyError
    """
    if len(body) < LARGE_BYTES or not _has_long_run(body):
        return
    before = b""
    for piece in _outside_strings(body):
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


def _outside_strings(body: bytes, left_out: bytes = b"") -> Iterator[bytes]:
    """Yield what is in no string, piece by piece, without the quotes and the bytes that are `left_out`.

    If none is, a string is replaced by a space: what was apart stays apart.
    """
    between = b"" if left_out else b" "
    inside = False
    for piece in _without_escapes(body):
        found = piece.translate(None, left_out)
        quotes = found.count(b'"')
        if not left_out or quotes * _FEW_QUOTES <= len(found):
            yield between.join(found.split(b'"')[inside::2])
        else:
            yield _outside_by_parity(np.frombuffer(found, dtype=np.uint8), inside)
        inside ^= quotes % 2 == 1


def _outside_by_parity(found: NDArray[np.uint8], inside: bool) -> bytes:
    """Return the marks before which there is an even number of quotes; after an odd one, if the piece begins inside."""
    quotes = found == _QUOTE
    # Eight bits are enough for what is odd.
    outside = (np.cumsum(quotes, dtype=np.uint8) & 1) == int(inside)
    kept: NDArray[np.uint8] = found.compress(outside & ~quotes)
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
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]
