"""A health check: ``healthy.py PART [URL]`` exits 0 if PART of Airflow is healthy, otherwise 1 with the reason.

One request to the running server takes milliseconds; ``airflow jobs check`` starts Airflow, which takes seconds.
"""

import json
import sys
from urllib.request import urlopen

HERE = "http://127.0.0.1:8080"


def main(part: str, server: str = HERE) -> int:
    """Check `part` (metadatabase, scheduler, dag_processor or triggerer) at `server`."""
    address = f"{server}/api/v2/monitor/health"
    try:
        with urlopen(address, timeout=8) as answer:  # noqa: S310  # the address is the deployment's own
            states = json.load(answer)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{address}: {error}\n")
        return 1
    found = states.get(part, {}).get("status")
    if found != "healthy":
        sys.stderr.write(f"{part}: expected healthy; found {found}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
