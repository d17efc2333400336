#!/bin/sh
# Runs every static check, prints its name first, and reports the result at the end; `make lint` calls it.
# If the file of a check is missing, the check is skipped; this is printed, and reported at the end.
set -u
cd "$(dirname "$0")/../.." || exit 1

bin=.venv/bin
failed=
skipped=

check() {
    name=$1
    shift
    printf '== %s\n' "$name"
    "$@" || failed="$failed, $name"
}

# check_file NAME FILE COMMAND...: the command gets the file as its last argument.
check_file() {
    file=$2
    if [ ! -e "$file" ]; then
        printf '== %s\n!! SKIPPED: there is no %s\n' "$1" "$file" >&2
        skipped="$skipped, $1"
        return
    fi
    name=$1
    shift 2
    check "$name" "$@" "$file"
}

# Requirements, shell and YAML files that git tracks or would add, not downloaded or generated ones.
listed() { git ls-files -co --exclude-standard -z -- "$@" 2>/dev/null; }

shell_scripts() {
    if ! command -v "$bin/shellcheck" >/dev/null 2>&1; then
        printf '!! SKIPPED: no shellcheck in .venv\n' >&2
        skipped="$skipped, shellcheck"
        return 0
    fi
    listed 'deploy/*.sh' .ci/run | xargs -0 -r "$bin/shellcheck"
}

check "ruff check" "$bin/ruff" check .
check "ruff format" "$bin/ruff" format --check .
check "mypy" "$bin/mypy"
check "import contracts" "$bin/lint-imports"
check "shellcheck" shell_scripts
check_file "hadolint" Dockerfile "$bin/hadolint"
check_file "compose schema" docker-compose.yaml "$bin/check-jsonschema" --builtin-schema vendor.compose-spec
yaml_files() { listed '*.yaml' '*.yml' | xargs -0 -r "$bin/yamllint" --strict; }
check "yamllint" yaml_files

[ -z "$skipped" ] || printf '\nlint: SKIPPED%s\n' "${skipped#,}" >&2
if [ -n "$failed" ]; then
    printf '\nlint: FAILED%s\n' "${failed#,}" >&2
    exit 1
fi
printf '\nlint: clean\n'
