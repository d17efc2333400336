"""Compressed bodies, in and out: never more unpacked than is taken, however little was sent."""

from __future__ import annotations

import gzip
import zlib
from typing import Final

from werkzeug.exceptions import UnsupportedMediaType

from model_service.http.errors import ContentEncodingError, PayloadTooLargeError

# What zlib is told: gzip's envelope, or zlib's, which is what HTTP calls deflate.
_ENVELOPES: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_FAST: Final = 1


def decompress(body: bytes, encoding: str | None, limit: int, setting: str = "SLUICE_SERVICE_MAX_BYTES") -> bytes:
    """Return a body as it was before ``Content-Encoding``, of at most `limit` bytes, which `setting` holds.

    Raises
    ------
    PayloadTooLargeError
        Before more than `limit` bytes were unpacked.
    ContentEncodingError
        If it is not what its encoding says.
    UnsupportedMediaType
        If the encoding is another than gzip or deflate.
    """
    if not encoding:
        return body
    name = encoding.strip().lower()
    if name == "identity":
        return body
    if name not in _ENVELOPES:
        raise UnsupportedMediaType("Content-Encoding must be gzip, deflate or identity.")
    machine = zlib.decompressobj(_ENVELOPES[name])
    try:
        plain = machine.decompress(body, limit + 1)
    except zlib.error as error:
        raise ContentEncodingError(name, str(error)) from None
    if len(plain) > limit:
        raise PayloadTooLargeError("bytes once unpacked", limit, setting)
    if not machine.eof or machine.unused_data:
        raise ContentEncodingError(name, "it ends early, or something follows it")
    return plain


def negotiate_encoding(accepted: str | None) -> str | None:
    """Return the encoding that the header ``Accept-Encoding`` asks for, of those that we write.

    >>> negotiate_encoding("br, gzip;q=0.5"), negotiate_encoding("deflate"), negotiate_encoding("gzip;q=0"), negotiate_encoding(None)
    ('gzip', 'deflate', None, None)
    """
    if not accepted:
        return None
    names = {}
    for each in accepted.lower().split(","):
        name, _, quality = each.partition(";")
        names[name.strip()] = quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return next((name for name in ("gzip", "deflate") if names.get(name)), None)


def compress(body: bytes, encoding: str) -> bytes:
    """Return `body` in an encoding that `negotiate_encoding` named."""
    return gzip.compress(body, _FAST, mtime=0) if encoding == "gzip" else zlib.compress(body, _FAST)
