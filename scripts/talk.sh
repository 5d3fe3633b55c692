# Read by the other scripts: what they say, and how they ask. Everything goes to stderr.
# shellcheck shell=sh

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    printf 'pairlock: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# agreed QUESTION: CI=true and YES=1 say yes beforehand; without a terminal the answer is no.
agreed() {
    if [ "${CI:-}" = true ] || [ "${YES:-}" = 1 ]; then
        return 0
    fi
    if [ ! -t 0 ] || [ ! -t 2 ]; then
        return 1
    fi
    printf '%s [y/N] ' "$1" >&2
    read -r answer || return 1
    case $answer in
        y | Y | yes | Yes) return 0 ;;
        *) return 1 ;;
    esac
}

# as_root COMMAND…: run it as root, by sudo where this is another user.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        fail "\`$1\` has to run as root" "run it as root: $*"
    fi
}

# apt_install PACKAGE…: install by apt on Debian and Ubuntu, after asking.
apt_install() {
    if ! command -v apt-get >/dev/null 2>&1; then
        return 1
    fi
    agreed "Install $* by apt?" || return 1
    say "installing $* by apt…"
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 \
        --no-install-recommends "$@" >/dev/null 2>&1; then
        as_root apt-get update --quiet=2 >/dev/null
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 \
            --no-install-recommends "$@" >/dev/null
    fi
}
