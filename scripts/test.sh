#!/bin/sh
# Set up what is missing, check the code, run the tests: scripts/test.sh [argument of pytest's …]
# LONG=1 runs the long tests as well, as CI does; WORKERS=… says how many run beside each other.
# pytest's closing line is the last one printed.
set -eu
cd "$(dirname "$0")/.."
. scripts/talk.sh

scripts/environment.sh dev
scripts/engine.sh --gvisor
if [ "${LONG:-}" = 1 ]; then
    scripts/test_tools.sh long
else
    scripts/test_tools.sh
    set -- -m "not long" "$@"
fi

lint=0
scripts/lint.sh || lint=1
[ "$lint" = 0 ] || say "the checks above failed; the tests run all the same"
# Half of what a test takes is waiting, for an engine or a clock: one worker more than there are processors.
workers=${WORKERS:-$(($(nproc) < 4 ? $(nproc) + 1 : 4))}
code=0
.venv/bin/python -m pytest -n "$workers" "$@" || code=$?
if [ "$code" = 1 ] && [ "${CI:-}" = true ]; then
    .venv/bin/python scripts/failed_tests.py .pytest_cache
    say "what failed beside other tests is run once more, alone, and has to pass then"
    code=0
    .venv/bin/python -m pytest --last-failed --maxfail 20 "$@" || code=$?
fi
[ "$code" != 0 ] || code=$lint
exit "$code"
