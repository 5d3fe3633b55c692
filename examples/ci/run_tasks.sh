#!/bin/bash
# Run the tasks that from_base.sh trusted, and leave with pairlock's exit code: part of action.yml and gitlab.yml.
#
# From the environment: TASKS, a folder; RESULTS, a new folder; SUMMARY, REPLAY, FILTER and JOBS, which may be empty.
set -euo pipefail

cd "$(git -c core.hooksPath=/dev/null -c core.fsmonitor=false rev-parse --show-toplevel)"
words=(--output "$RESULTS")
[ -z "${SUMMARY:-}" ] || words+=(--summary "$SUMMARY")
[ -z "${REPLAY:-}" ] || words+=("--replay=$REPLAY")
[ -z "${JOBS:-}" ] || words+=("--jobs=$JOBS")
while IFS= read -r name; do
    [ -z "$name" ] || words+=("--filter=$name")
done <<<"${FILTER:-}"
exec pairlock ci run "${words[@]}" -- "$TASKS"
