#!/bin/sh
# Set up what is missing, and run the main job: an agent mends a package in a sandbox.
set -eu
cd "$(dirname "$0")/.."
. scripts/talk.sh

[ "${1:-}" != --yes ] || export YES=1
scripts/environment.sh run
scripts/engine.sh

folder=$(mktemp -d "${TMPDIR:-/tmp}/pairlock-demo.XXXXXX")
cp -R examples/fix-tests/package "$folder/freetime"

show() {
    line="\$ pairlock"
    for word; do
        case $word in
            *" "*) line="$line \"$word\"" ;;
            *) line="$line $word" ;;
        esac
    done
    say
    say "$line"
    .venv/bin/pairlock "$@"
}

show run "Make the tests pass." --policy fix-tests --workspace "$folder/freetime" \
    --model scripted:examples/fix-tests/script.yaml
show diff last
show audit verify last
say
say "The workspace $folder/freetime is as it was: nothing reaches it before you say so."
say "To take the change: .venv/bin/pairlock apply last"
