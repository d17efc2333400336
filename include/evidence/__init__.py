"""The evidence of a decision: a JSON pack for programs and an HTML card for people. Functions without I/O."""

from include.evidence.card import card_html
from include.evidence.pack import EvidencePack, read_pack, schema
from include.evidence.plots import draw

__all__ = ["EvidencePack", "card_html", "draw", "read_pack", "schema"]
