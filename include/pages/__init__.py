"""What the pages that Sluice writes have in common: one style, and templates that escape every text.

A page is one file that loads nothing, so that it can be read without a network. Jinja is imported only when a page is
written.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def page_templates(folder: Path) -> Environment:
    """Return the templates of a folder; each is given the style sheet as `style`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = _style()
    return environment


@cache
def _style() -> str:
    from markupsafe import Markup

    return Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8"))  # noqa: S704  # a file of ours
