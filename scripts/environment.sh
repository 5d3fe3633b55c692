#!/bin/sh
# Make the virtual environment .venv from the locked requirements: scripts/environment.sh run|dev
# Does nothing when it is there and up to date.
set -eu
cd "$(dirname "$0")/.."
. scripts/talk.sh

kind=${1:-run}
case $kind in
    run | dev) ;;
    *) fail "\`$kind\` is no kind of environment, expected \`run\` or \`dev\`" ;;
esac

python=
find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            python=$name
            return
        fi
    done
    fail "no Python 3.11 or newer is on the path" "install one, or name it: make demo PYTHON=/path/to/python3"
}

make_folder() {
    find_python
    say "making .venv with $("$python" --version)…"
    if "$python" -m venv .venv >/dev/null 2>&1; then
        return
    fi
    rm -rf .venv
    version=$("$python" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}")')
    apt_install "$version-venv" || fail "\`$python -m venv\` does not work" "install the package $version-venv"
    "$python" -m venv .venv
}

# What the environment is made of: the locks, the project's own metadata, the interpreter.
fingerprint() {
    cat requirements/build.txt "requirements/$kind.txt" pyproject.toml
    .venv/bin/python -c 'import sys; print(sys.version, sys.base_prefix, sys.prefix)'
}

works() {
    [ -x .venv/bin/python ] && .venv/bin/python -c 'import pip' >/dev/null 2>&1
}

works || { rm -rf .venv && make_folder; }

stamp=.venv/pairlock-$kind
wanted=$(fingerprint | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x .venv/bin/pairlock ]; then
    exit 0
fi

say "installing the locked requirements ($kind) into .venv…"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
.venv/bin/python -m pip install --quiet --require-hashes --requirement requirements/build.txt \
    --requirement "requirements/$kind.txt"
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
printf '%s\n' "$wanted" >"$stamp"
