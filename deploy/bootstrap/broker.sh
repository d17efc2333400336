#!/bin/sh
# Sees to it that redis-server is there, the broker of `make distributed`; installs Debian's when root may.
set -eu

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    printf '\nsetup failed: %s\n' "$1" >&2
    printf '  what to do: %s\n' "$2" >&2
    exit 1
}

if command -v redis-server >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    fail "the program redis-server, the broker between Airflow and its workers, is not on PATH." \
        "Debian and Ubuntu: sudo apt-get install -y redis-server; macOS: brew install redis; then run make distributed again"
fi
say "installing redis-server, the broker between Airflow and its workers"
# The package would start a server of its own where a service manager runs; ours is another, with a password.
export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
{
    apt-get install -y -qq --no-install-recommends redis-server ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server; }
} >/dev/null 2>&1 || fail "apt-get install redis-server did not succeed." "run it by hand, see what it says, then run make distributed again"
command -v redis-server >/dev/null 2>&1 || fail "redis-server is installed and not on PATH." "put its folder on PATH"
