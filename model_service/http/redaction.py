"""Removes the places of files from what callers see; the log keeps them."""

from __future__ import annotations

import re
from typing import Final

# An absolute path or the URL of a store, with at least two parts before the last three: these name the model, the
# version and the file.
_PLACE: Final = re.compile(
    r"(?:\b[a-z][a-z0-9+.-]*:/{2,3}|(?<![\w/.:])/)"  # the scheme, or the root
    r"(?:[^\s'\"`:;,()<>/]+/)*?"  # the folders to leave out
    r"((?:[^\s'\"`:;,()<>/]+/){0,2}[^\s'\"`:;,()<>/]+/?)(?=[\s'\"`:;,()<>]|$)"
)
MAX_CHARACTERS: Final = 2_000


def without_paths(text: str) -> str:
    """Return `text` with at most the last three parts of each absolute path or URL.

    >>> without_paths("/srv/sluice/artifacts/iris/3/golden.json: expected a file; found none.")
    'iris/3/golden.json: expected a file; found none.'
    """
    return _PLACE.sub(r"\1", text[:MAX_CHARACTERS])
