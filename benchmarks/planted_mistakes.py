"""How long `sluice check` takes on each planted mistake of tests/checking, as a command of its own.

``python -m benchmarks.planted_mistakes`` starts an embedded server with the parcels of the tests, plants one mistake
after the other, and prints the seconds of each, slowest first, beside those of ``python -c "import sklearn.ensemble"``:
from the start of the command to its end, on a quiet machine, since a check has two processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from include.settings import REPOSITORY
from include.warehouse import migrate, open_engine, start_embedded, stop_embedded
from tests.builders import TODAY, load_parcels
from tests.checking.mistakes import MISTAKES, WRITTEN, plant


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        url = start_embedded(home, durable=False)
        try:
            migrate(url)
            engine = open_engine(url)
            load_parcels(engine)
            engine.dispose()
            measure(Path(folder) / "models", url)
        finally:
            stop_embedded(home)


def measure(models: Path, url: str) -> None:
    environment = os.environ | {"SLUICE_DATABASE_URL": url, "SLUICE_MODELS_DIR": str(models)}
    seconds: dict[str, float] = {}
    for name, mistake in MISTAKES.items():
        plant(models / "parcels", mistake)
        seconds[name] = seconds_of([sys.executable, "-m", "include.cli", "check", "--as-of", str(TODAY)], environment)
    for name, took in sorted(seconds.items(), key=lambda each: -each[1]):
        print(f"{took:6.2f} s  {name}")
    for what, names in (("seen in the text", WRITTEN), ("seen by running", MISTAKES.keys() - WRITTEN.keys())):
        some = [seconds[name] for name in names]
        print(f"{what}: {len(some)}, median {statistics.median(some):.2f} s, longest {max(some):.2f} s")
    imported = [seconds_of([sys.executable, "-c", "import sklearn.ensemble"], environment) for _ in range(3)]
    print(f"import of sklearn.ensemble alone: {statistics.median(imported):.2f} s")


def seconds_of(command: list[str], environment: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, check=False)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
