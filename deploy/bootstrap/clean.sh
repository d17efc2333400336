#!/bin/sh
# Stops the processes of this checkout, then removes the files that `make` created and no others; `make clean` calls it.
# Every name below is one that make creates. Data in another place (SLUICE_HOME) is not touched.
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
            fail "a process of .sluice could not be stopped (see above); nothing was removed."
    else
        for file in .sluice/local/launcher.lock .sluice/*/postmaster.pid .sluice/*/*/postmaster.pid; do
            running "$file" && fail "process $pid of $file is still running, and .venv, which could stop it, does not work. Stop it (kill $pid), then run make clean again."
        done
    fi
    rm -rf .sluice
    say "removed .sluice"
fi
if [ -f .venv/.sluice-made-this ]; then
    rm -rf .venv
    say "removed .venv"
elif [ -e .venv ]; then
    say "kept .venv: it was not created by make"
fi
for name in .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache sluice.egg-info; do
    [ -e "$name" ] || continue
    rm -rf "$name"
    say "removed $name"
done
for folder in benchmarks dags deploy include model_service plugins tests; do
    [ -d "$folder" ] || continue
    find "$folder" -depth -type d -name __pycache__ -exec rm -rf {} +
    # Tools that were started in a subfolder leave their caches there.
    find "$folder" -depth -type d \( -name .pytest_cache -o -name .ruff_cache -o -name .mypy_cache \) -exec rm -rf {} +
done
