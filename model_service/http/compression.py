"""Decompresses request bodies, up to a limit, and compresses responses."""

from __future__ import annotations

import gzip
import zlib
from typing import Final

from werkzeug.exceptions import UnsupportedMediaType

from model_service.http.errors import ContentEncodingError, PayloadTooLargeError

# zlib's window bits: 31 for the gzip format, 15 for the zlib format, which HTTP calls deflate.
_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_FAST: Final = 1


def decompress(body: bytes, encoding: str | None, limit: int, setting: str = "SLUICE_SERVICE_MAX_BYTES") -> bytes:
    """Undo the ``Content-Encoding`` of a body, up to `limit` bytes; `setting` is the name of the limit.

    Raises
    ------
    PayloadTooLargeError
        If the result is larger; no more than `limit` bytes are decompressed.
    ContentEncodingError
        If the body does not match its encoding.
    UnsupportedMediaType
        If the encoding is neither gzip nor deflate.
    """
    if not encoding:
        return body
    name = encoding.strip().lower()
    if name == "identity":
        return body
    if name not in _WINDOW_BITS:
        raise UnsupportedMediaType("Content-Encoding must be gzip, deflate or identity.")
    decompressor = zlib.decompressobj(_WINDOW_BITS[name])
    try:
        plain = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise ContentEncodingError(name, str(error)) from None
    if len(plain) > limit:
        raise PayloadTooLargeError("bytes after decompression", limit, setting)
    if not decompressor.eof or decompressor.unused_data:
        raise ContentEncodingError(name, "it is truncated, or followed by other data")
    return plain


def negotiate_encoding(accepted: str | None) -> str | None:
    """Return the supported encoding that the header ``Accept-Encoding`` accepts; None: no compression.

    >>> [negotiate_encoding(each) for each in ("br, gzip;q=0.5", "deflate", "gzip;q=0", None)]
    ['gzip', 'deflate', None, None]
    """
    if not accepted:
        return None
    names = {}
    for each in accepted.lower().split(","):
        name, _, quality = each.partition(";")
        names[name.strip()] = quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return next((name for name in ("gzip", "deflate") if names.get(name)), None)


def compress(body: bytes, encoding: str) -> bytes:
    """Compress `body` with an encoding that `negotiate_encoding` returned."""
    return gzip.compress(body, _FAST, mtime=0) if encoding == "gzip" else zlib.compress(body, _FAST)
