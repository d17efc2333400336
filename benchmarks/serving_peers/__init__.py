"""What ``benchmarks/serving.py`` is made of: the models, the servers beside ours, the load, the report."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))
