"""``make fuzz SECONDS=3600``: fuzz every parser of the service, guided by coverage where Atheris is installed.

Inputs that reach new code stay in ``.sluice/fuzz``, and the next run starts from them. A finding is written there, too.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

from include.settings import REPOSITORY

CORPUS = REPOSITORY / ".sluice" / "fuzz"
MAX_FINDINGS = 20
TURN_SECONDS = 10.0


def main() -> int:
    """Return 0 when nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--plain", action="store_true", help="without Atheris, even if it is installed")
    options = parser.parse_args()
    try:
        import atheris  # noqa: F401
    except ImportError:
        options.plain = True
    with tempfile.TemporaryDirectory() as home:
        return _plain(options, Path(home)) if options.plain else _guided(options, Path(home))


def _plain(options: argparse.Namespace, home: Path) -> int:
    from tests.fuzz.loop import Fuzzer, reproduce
    from tests.fuzz.targets import TARGETS, Service

    print(f"fuzz: {options.seconds} s without Atheris, seed {options.seed}", flush=True)
    service = Service(home)
    fuzzers = [Fuzzer(service, target, options.seed) for target in TARGETS]
    findings = []
    end = time.monotonic() + options.seconds
    while (left := end - time.monotonic()) > 0 and len(findings) < MAX_FINDINGS:
        for target, fuzzer in zip(TARGETS, fuzzers, strict=True):
            for data, error in fuzzer.run(seconds=min(TURN_SECONDS, max(0.1, left / len(TARGETS)))):
                findings.append((target.name, data, error))
                if len(findings) >= MAX_FINDINGS:
                    break
    for target, fuzzer in zip(TARGETS, fuzzers, strict=True):
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(fuzzer.statuses.items()))
        print(f"  {target.name}: {fuzzer.executions:,} executions; {statuses}")
    print(f"fuzz: {sum(each.executions for each in fuzzers):,} executions, {len(findings)} findings")
    if findings:
        CORPUS.mkdir(parents=True, exist_ok=True)
        for _, data, _ in findings:
            (CORPUS / f"finding-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
        print(reproduce(findings))
    return 1 if findings else 0


def _guided(options: argparse.Namespace, home: Path) -> int:
    """Fuzz all targets in one run of libFuzzer; the first byte of an input chooses the target."""
    import atheris

    with atheris.instrument_imports(include=["model_service", "include"]):
        from tests.fuzz.mutation import mutate
        from tests.fuzz.targets import TARGETS, Service

        service = Service(home)
    corpus = CORPUS / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, target in enumerate(TARGETS):
        for position, data in enumerate(target.seeds):
            (corpus / f"seed-{number}-{position}").write_bytes(bytes((number,)) + data)

    def one(data: bytes) -> None:
        if data:
            service.ask(TARGETS[data[0] % len(TARGETS)], data[1:])

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        draw = random.Random(seed)  # noqa: S311  # libFuzzer's, to be repeated
        if not data or seed % 3 == 0:
            return bytes(atheris.Mutate(data, max_size))
        target = TARGETS[data[0] % len(TARGETS)]
        return (data[:1] + mutate(data[1:], target.seeds, draw))[:max_size]

    arguments = [
        sys.argv[0],
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed % 2**32}",
        f"-artifact_prefix={CORPUS}/finding-",
        "-max_len=8192",
        "-timeout=20",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        "-reload=0",
        str(corpus),
    ]
    print(f"fuzz: {options.seconds} s with Atheris, seed {options.seed}", flush=True)
    atheris.Setup(arguments, one, custom_mutator=change)
    atheris.Fuzz()  # ends the process: 0, or 77 at a finding, with the input and the traceback
    return 0


if __name__ == "__main__":
    sys.exit(main())
