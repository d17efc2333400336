#!/bin/sh
# Creates .venv from the hash-pinned requirements; `make` calls it before everything else.
#
#   deploy/bootstrap/setup.sh [requirements file beside requirements.txt ...]
#
# A second call takes milliseconds: .venv/.sluice-setup records the inputs of the environment.
# PYTHON=... chooses the interpreter. UV_DEFAULT_INDEX (or pip's own configuration) chooses the package index.
set -eu
cd "$(dirname "$0")/../.."

venv=.venv
python=$venv/bin/python
stamp=$venv/.sluice-setup
owner=$venv/.sluice-made-this # `make clean` removes a .venv only when this is in it

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    printf '\nsetup failed: %s\n' "$1" >&2
    printf '  what to do: %s\n' "$2" >&2
    exit 1
}

supported() { "$1" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }
makes_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# It contains the path, because a virtual environment that was moved does not work.
# The installed packages are those of all these files, so that `make run` after `make test` installs nothing.
wanted() { printf '%s\n' "$(pwd -P)" "$(cksum pyproject.toml requirements.txt deploy/bootstrap/requirements.txt "$@")"; }

up_to_date() {
    [ -x "$python" ] && [ -f "$stamp" ] || return 1
    [ -z "${PYTHON:-}" ] || same_version || return 1
    wanted "$@" | while IFS= read -r line; do grep -qxF -e "$line" "$stamp" || exit 1; done
}

same_version() {
    [ "$("$PYTHON" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)" = \
        "$("$python" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)" ]
}

# Sets $found to an interpreter that runs, has a supported version and can create virtual environments.
find_python() {
    found=
    incomplete=
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.13 python3.12 python3.11 python3 /usr/bin/python3; fi
    for candidate; do
        supported "$candidate" || continue
        if makes_venvs "$candidate"; then
            found=$candidate
            return
        fi
        incomplete=${incomplete:-$candidate}
    done
    if [ -z "$incomplete" ]; then
        fail "expected Python 3.11, 3.12 or 3.13; found ${PYTHON:-none under its usual names} (${PYTHON:+not of these versions, or }not running)." \
            "install one (Debian and Ubuntu: apt-get install python3 python3-venv), or name it: make run PYTHON=/path/to/python3.12"
    fi
    add_venv_module "$incomplete"
    found=$incomplete
}

# Debian's Python does not contain the module that creates virtual environments.
add_venv_module() {
    package=python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        fail "$1 cannot create virtual environments: its package $package is not installed." \
            "sudo apt-get install -y $package, then run make again; or name another interpreter: make run PYTHON=/path/to/python3.12"
    fi
    say "installing $package, without which $1 cannot create virtual environments"
    { apt-get install -y -qq "$package" || { apt-get update -qq && apt-get install -y -qq "$package"; }; } >/dev/null 2>&1 ||
        fail "apt-get install $package did not succeed." "run it manually, read its output, then run make again"
    makes_venvs "$1" || fail "$1 still cannot create virtual environments after the installation of $package." "name another interpreter: make run PYTHON=/path/to/python3.12"
}

make_venv() {
    if [ -e "$venv" ] && [ ! -e "$owner" ]; then
        fail "$venv exists, does not work here (it was moved, or is of another Python), and was not created by make." "move it away, then run make again"
    fi
    find_python
    say "making $venv with $found ($("$found" --version 2>&1))"
    rm -rf "$venv"
    mkdir "$venv"
    : >"$owner"
    "$found" -m venv "$venv" || fail "$found -m venv $venv did not succeed." "see the lines above"
}

# Usable: it runs, was created in this folder, and has the requested version.
usable() {
    [ -x "$python" ] && "$python" -m pip --version >/dev/null 2>&1 || return 1
    [ "$("$python" -c 'import os, sys; print(os.path.realpath(sys.prefix))')" = "$(pwd -P)/$venv" ] || return 1
    grep -qF -e "$(pwd -P)/$venv" "$venv/bin/pip" 2>/dev/null || return 1
    [ -z "${PYTHON:-}" ] || same_version
}

download_failed() {
    fail "$1 could not be installed: the lines above say which package and why." \
        "check the network (HTTPS_PROXY, UV_DEFAULT_INDEX and PIP_INDEX_URL are honoured) and the free disk space (2 GB), then run make again: it continues where it stopped"
}

install() {
    if ! "$venv/bin/uv" --version 2>/dev/null | grep -qF "$(sed -n 's/^uv==\([0-9.]*\).*/uv \1/p' deploy/bootstrap/requirements.txt)"; then
        say "installing the installer (uv)"
        "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
            -r deploy/bootstrap/requirements.txt || download_failed uv
    fi
    # uv does not read pip's configuration, but a mirror that is configured there should be used.
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        mirror=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
        [ -z "$mirror" ] || export UV_DEFAULT_INDEX="$mirror"
    fi
    # If Python may not write bytecode, as in many containers, every process would compile all its imports again.
    # Airflow's take seconds, in each of its many processes.
    [ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || export UV_COMPILE_BYTECODE=1
    for file in requirements.txt "$@"; do
        say "installing the packages of $file, each checked against its hash"
        "$venv/bin/uv" pip install --python "$python" --require-hashes -r "$file" || download_failed "$file"
    done
    "$venv/bin/uv" pip install --quiet --python "$python" --no-deps --no-build-isolation -e . ||
        fail "Sluice itself could not be installed into $venv." "see the lines above; make clean, then try again"
}

for file; do
    [ -f "$file" ] || fail "expected a file of requirements; found no $file." \
        "EXTRAS takes the names of the folders in deploy/extras: $(cd deploy/extras 2>/dev/null && echo ./* | sed 's,\./,,g')"
done
up_to_date "$@" && exit 0
# Two simultaneous makes take turns, if the system has flock.
if [ -z "${SLUICE_SETUP_LOCKED:-}" ] && command -v flock >/dev/null 2>&1; then
    SLUICE_SETUP_LOCKED=1 exec flock pyproject.toml "deploy/bootstrap/setup.sh" "$@"
fi
up_to_date "$@" && exit 0
began=$(date +%s)
usable || make_venv
# Packages that were installed for the tests or as extras stay; if they are up to date, the stamp names them again.
before=
for file in tests/requirements.txt deploy/extras/*/requirements.txt; do
    if [ -f "$file" ] && [ -f "$stamp" ] && grep -qxF -e "$(cksum "$file")" "$stamp"; then before="$before $file"; fi
done
rm -f "$stamp"
install "$@"
# shellcheck disable=SC2086
wanted "$@" $before >"$stamp"
say "ready after $(($(date +%s) - began)) s"
