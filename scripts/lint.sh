#!/bin/sh
# Check the code without running it: ruff, mypy, import-linter, shellcheck. Each one runs, whatever the others say.
set -u
cd "$(dirname "$0")/.." || exit 1
. scripts/talk.sh

code=0
check() {
    "$@" >&2 || code=1
}

check .venv/bin/ruff check --quiet .
check .venv/bin/ruff format --quiet --check .
check .venv/bin/mypy --no-error-summary
check .venv/bin/lint-imports --no-logo
if command -v shellcheck >/dev/null 2>&1 || { [ "${CI:-}" = true ] && apt_install shellcheck; }; then
    check shellcheck --external-sources scripts/*.sh .ci/run
else
    say "shellcheck is not installed: the scripts are not checked"
fi
exit "$code"
