#!/bin/sh
# Removes what `make` made and nothing else, after stopping what still runs from it; `make clean` calls it.
# Each name is one that make creates. Data kept elsewhere with SLUICE_HOME is not touched.
set -eu
cd "$(dirname "$0")/../.."

say() { printf 'clean: %s\n' "$*"; }
fail() {
    printf 'clean: %s\n' "$*" >&2
    exit 1
}

running() { [ -f "$1" ] && pid=$(head -n 1 "$1") && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; }

if [ -d .sluice ]; then
    if [ -x .venv/bin/python ] && .venv/bin/python -c 'import deploy.local_stack' 2>/dev/null; then
        SLUICE_HOME=$(pwd -P)/.sluice .venv/bin/python -m deploy.local_stack --stop ||
            fail "something that runs from .sluice could not be stopped (see above); nothing was removed."
    else
        for file in .sluice/local/launcher.lock .sluice/*/postmaster.pid .sluice/*/*/postmaster.pid; do
            running "$file" && fail "process $pid of $file still runs, and .venv, which could stop it, does not work. Stop it (kill $pid), then make clean again."
        done
    fi
    rm -rf .sluice
    say "removed .sluice"
fi
if [ -f .venv/.sluice-made-this ]; then
    rm -rf .venv
    say "removed .venv"
elif [ -e .venv ]; then
    say "kept .venv: make did not make it"
fi
for name in .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache sluice.egg-info; do
    [ -e "$name" ] || continue
    rm -rf "$name"
    say "removed $name"
done
for folder in benchmarks dags deploy include model_service plugins tests; do
    [ -d "$folder" ] || continue
    find "$folder" -depth -type d -name __pycache__ -exec rm -rf {} +
    # Tools started below the top leave their caches there.
    find "$folder" -depth -type d \( -name .pytest_cache -o -name .ruff_cache -o -name .mypy_cache \) -exec rm -rf {} +
done
