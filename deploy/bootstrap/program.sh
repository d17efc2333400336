#!/bin/sh
# Sees to it that a program of the system is there, and installs Debian's package of its name when root may.
#
#   deploy/bootstrap/program.sh PROGRAM "what it is for" "the make that wants it" [its name in Homebrew]
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
# A package of a server would start one of its own where a service manager runs; ours are others, with passwords.
export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
{
    apt-get install -y -qq --no-install-recommends "$program" ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$program"; }
} >/dev/null 2>&1 || fail "apt-get install $program did not succeed." "run it by hand, see what it says, then run $target again"
command -v "$program" >/dev/null 2>&1 || fail "$program is installed and not on PATH." "put its folder on PATH"
