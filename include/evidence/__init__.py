"""The evidence behind a decision on a version: a pack for machines, a card for people. Values in, bytes out."""

from include.evidence.card import card_html
from include.evidence.pack import EvidencePack, read_pack, schema
from include.evidence.plots import draw

__all__ = ["EvidencePack", "card_html", "draw", "read_pack", "schema"]
