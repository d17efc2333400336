"""Changes of inputs: of bytes, of words of JSON, of numbers, and of whole parts of two inputs."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

WORDS: Final = (
    *(b"null true false NaN Infinity -Infinity 1e400 -0 0.1 1E-400 99999999999999999999 18446744073709551616".split()),
    *(b'"" "\\ud800" "\\u0000" "\\udc00\\ud800" {} [] [[]] {"a":1} : , " \\ [ ] { } % & = ; . / .. # ?'.split()),
    *(b"features inputs outputs parameters name shape datatype data id binary_data_size binary_data_output".split()),
    *(b"classification distance carrier weekend BYTES BOOL FP16 FP32 FP64 INT8 UINT64 label keys partition".split()),
    *(b"history limit cursor at iss aud sub exp nbf iat scope models model HS256 none kid alg".split()),
    *(b"-1 0 1 2 2147483648 9223372036854775808 4294967295 1e308 5e-324 2026-01-31 10000-01-01".split()),
    *(b"Bearer %00 %ff %2F +00:00".split()),
    b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xff\xff\xff\xff", b"\x00\x00\x80\x7f", b"9" * 401,
    b"[" * 70, b'{"a":' * 70,
)  # fmt: skip
_NUMBER: Final = re.compile(rb"-?[0-9]+")
MAX_BYTES: Final = 8_192


def mutate(data: bytes, pool: Sequence[bytes], draw: random.Random) -> bytes:
    """Return `data` after one to five changes, some with parts of another input of the `pool`."""
    for _ in range(draw.randint(1, 5)):
        data = _changed(data, pool, draw)[:MAX_BYTES]
    return data


def _changed(data: bytes, pool: Sequence[bytes], draw: random.Random) -> bytes:
    at = draw.randint(0, len(data))
    end = min(len(data), at + draw.choice((1, 1, 2, 4, 16, 64)))
    match draw.randrange(8):
        case 0:
            return data[:at] + bytes((draw.randrange(256),)) + data[end:]
        case 1:
            return data[:at] + draw.choice(WORDS) + data[at:]
        case 2:
            return data[:at] + draw.choice(WORDS) + data[end:]
        case 3:
            return data[:at] + data[end:]
        case 4:
            return data[:end] + data[at:end] * draw.choice((1, 2, 30)) + data[end:]
        case 5:
            other = draw.choice(pool)
            start = draw.randint(0, len(other))
            return data[:at] + other[start : start + draw.choice((4, 16, 64, 4096))] + data[end:]
        case 6:
            numbers = list(_NUMBER.finditer(data))
            if not numbers:
                return data
            number = draw.choice(numbers)
            return data[: number.start()] + draw.choice(WORDS) + data[number.end() :]
        case _:
            return data[:at] + bytes(octet ^ (1 << draw.randrange(8)) for octet in data[at:end]) + data[end:]
