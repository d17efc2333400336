#!/bin/sh
# Checks that a system program is installed. As root on Debian, installs the package of the same name.
#
#   deploy/bootstrap/program.sh PROGRAM "its purpose" "the make target that needs it" [its name in Homebrew]
set -eu

program=$1
purpose=$2
target=$3
brew=${4:-$1}

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    printf '\nsetup failed: %s\n' "$1" >&2
    printf '  what to do: %s\n' "$2" >&2
    exit 1
}

if command -v "$program" >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    fail "the program $program, $purpose, is not on PATH." \
        "Debian and Ubuntu: sudo apt-get install -y $program; macOS: brew install $brew; then run $target again"
fi
say "installing $program, $purpose"
# RUNLEVEL=1: otherwise the package of a server would start it, if a service manager runs. Ours are started separately.
export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
{
    apt-get install -y -qq --no-install-recommends "$program" ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$program"; }
} >/dev/null 2>&1 || fail "apt-get install $program did not succeed." "run it manually, read its output, then run $target again"
command -v "$program" >/dev/null 2>&1 || fail "$program is installed, but not on PATH." "put its folder on PATH"
