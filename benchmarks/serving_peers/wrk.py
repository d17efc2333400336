"""The load: wrk, a closed loop of so many connections, each of which asks again when it was answered."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{headers}
done = function(summary, latency, requests)
  local lost = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  local form = '{{"requests": %d, "microseconds": %d, "p50": %f, "p99": %f, "refused": %d, "lost": %d}}'
  local p50, p99 = latency:percentile(50), latency:percentile(99)
  local figures = string.format(form, summary.requests, summary.duration, p50, p99, summary.errors.status, lost)
  io.write("FIGURES " .. figures .. "\\n")
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk found: requests a second, and milliseconds."""

    rate: float
    p50: float
    p99: float
    failed: int


def check_wrk() -> None:
    """End the bench when there is no wrk: another client would measure itself."""
    if shutil.which("wrk") is None:
        raise SystemExit("bench: FAILED: wrk is not installed. Do: apt-get install wrk (or brew install wrk)")


def load(url: str, body: Path, headers: dict[str, str], connections: int, seconds: float, folder: Path) -> Load:
    """Ask `url` for `seconds` and return what came of it."""
    script = folder / "wrk.lua"
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    script.write_text(SCRIPT.format(body=body, headers=lines))
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(script)]
    done = subprocess.run(["wrk", *options, url], capture_output=True, text=True, check=True)
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("FIGURES ")]
    found = json.loads(line.removeprefix("FIGURES "))
    return Load(
        found["requests"] / found["microseconds"] * 1e6,
        found["p50"] / 1e3,
        found["p99"] / 1e3,
        found["refused"] + found["lost"],
    )
