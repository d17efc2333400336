"""Is a part of Airflow healthy? ``healthy.py PART [URL]`` exits 0 if the API server says so, 1 with the reason if not.

One question to a server that runs anyway costs milliseconds; ``airflow jobs check`` starts Airflow anew, for seconds.
"""

import json
import sys
from urllib.request import urlopen

HERE = "http://127.0.0.1:8080"


def main(part: str, server: str = HERE) -> int:
    """Ask `server` for `part`: metadatabase, scheduler, dag_processor or triggerer."""
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
