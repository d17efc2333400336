"""The evidence of a decision: a JSON pack for programs and an HTML card for people. Functions without I/O."""

from include.evidence.card import card_html, champion_status, with_status
from include.evidence.pack import EvidencePack, read_pack, schema
from include.evidence.plots import draw

__all__ = ["EvidencePack", "card_html", "champion_status", "draw", "read_pack", "schema", "with_status"]
