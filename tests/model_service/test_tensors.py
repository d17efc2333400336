"""Strings of binary tensors: however they are found, they are those that a reader one by one finds."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.inference.dictionary_codec import MAX_STRINGS, build_codec
from include.inference.tensor_types import BYTES
from model_service.oip.tensors import InvalidTensorError, StringTensorWriter, from_binary

# Short and long ones, empty ones, and ones with the zeros that lengths consist of.
WORD = (
    st.binary(max_size=4) | st.text(alphabet="ABé", max_size=9).map(str.encode) | st.binary(min_size=250, max_size=260)
)

PIECES = st.lists(st.sampled_from([b"\0", b"\1", b"\2", b"\4", b"A", b"\0\0\0", b"\3\0\0\0", b"\1\0\0\0"]), max_size=14)


def written(words: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(word)) + word for word in words)


def read_one_by_one(data: bytes) -> list[bytes] | None:
    """Return the strings of `data` as the protocol defines them, or None if it is not made of strings."""
    found, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            return None
        end = at + 4 + struct.unpack_from("<I", data, at)[0]
        if end > len(data):
            return None
        found.append(data[at + 4 : end])
        at = end
    return found


@given(st.lists(WORD, max_size=12))
@example([b"", b"", b"a"])
@example([b"a", b"", b"", b"b"])
@example([b"\0", b"a"])
@example([b"a\0\0\0", b""])
def test_strings_are_read_as_they_were_written(words: list[bytes]) -> None:
    assert list(from_binary(memoryview(written(words)), BYTES, len(words))) == words


@given(st.sets(WORD, min_size=1, max_size=MAX_STRINGS), st.data())
def test_a_codec_reads_what_is_made_of_its_words_and_leaves_the_rest(words: set[bytes], data: st.DataObject) -> None:
    codec = build_codec({word: float(code) for code, word in enumerate(sorted(words))})
    drawn = data.draw(st.lists(st.sampled_from(sorted(words)) | WORD, max_size=12))
    coded = None if codec is None else codec.read(written(drawn), len(drawn))
    if codec is None:
        assert any(len(word) > 64 or not word.isascii() for word in words)
    elif set(drawn) <= words:
        assert coded is not None
        assert list(coded) == drawn == coded[:]
        assert coded.codes.tolist() == [sorted(words).index(word) for word in drawn]
    else:
        assert coded is None


@given(PIECES, st.integers(0, 6))
@example([b"\1\0\0\0A", b"\0\0\0\0"], 2)
@example([b"\x80"], 1)
def test_a_codec_takes_no_bytes_that_a_reader_one_by_one_would_not(pieces: list[bytes], elements: int) -> None:
    words = [b"", b"A", b"\1", b"\0"]
    codec = build_codec({word: float(code) for code, word in enumerate(words)})
    assert codec is not None
    coded, wanted = codec.read(b"".join(pieces), elements), read_one_by_one(b"".join(pieces))
    if coded is not None:
        assert list(coded) == wanted
        assert len(coded) == elements


@given(PIECES, st.integers(0, 6))
def test_bytes_that_are_no_such_strings_are_refused_and_others_are_not(pieces: list[bytes], elements: int) -> None:
    data = b"".join(pieces)
    wanted = read_one_by_one(data)
    if wanted is None or len(wanted) != elements:
        with pytest.raises(InvalidTensorError, match="string"):
            from_binary(memoryview(data), BYTES, elements)
    else:
        assert list(from_binary(memoryview(data), BYTES, elements)) == wanted


@given(st.lists(st.text(max_size=5), min_size=1, max_size=12, unique=True), st.data())
def test_labels_are_written_each_after_its_length(labels: list[str], data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, len(labels) - 1), max_size=20))
    wanted = written([labels[position].encode() for position in positions])
    assert StringTensorWriter(labels).write(np.array(positions, dtype=np.int64)) == wanted
