#!/bin/sh
# Lock the requirements again, with hashes and without addresses: scripts/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")/.."

lock() {
    target=$1
    shift
    .venv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate \
        --universal --python-version 3.11 --output-file "requirements/$target" "$@"
}

lock run.txt pyproject.toml "$@"
lock build.txt --constraint requirements/run.txt requirements/build.in "$@"
lock dev.txt --constraint requirements/run.txt --constraint requirements/build.txt \
    --group dev pyproject.toml "$@"
