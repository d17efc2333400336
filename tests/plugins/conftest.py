"""The plugin package is importable here as it is in Airflow."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
sys.path.append(str(REPOSITORY / "plugins"))
