#!/bin/sh
# See to it that a Docker engine answers: scripts/engine.sh [--gvisor]
# Installs and starts one where there is none, after asking; with --gvisor, gVisor's runtime as well.
# The pid of an engine that this started in the background is appended to $PAIRLOCK_STARTED, if that is set;
# $PAIRLOCK_DOCKERD_OPTIONS are options for such an engine, where it is to be another one than the machine's.
set -eu
cd "$(dirname "$0")/.."
. scripts/talk.sh

gvisor=no
[ "${1:-}" != --gvisor ] || gvisor=yes
folder=${PAIRLOCK_ENGINE_FOLDER:-/run/pairlock-engine}
start_seconds=90

# ask WHAT: what the engine says, through the SDK that pairlock itself uses.
ask() {
    .venv/bin/python scripts/ask_engine.py "$1"
}

on_debian() {
    command -v apt-get >/dev/null 2>&1
}

# dockerd_path: where it is; nothing where it is not. /usr/sbin is not on everybody's path.
dockerd_path() {
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v dockerd || true
}

ensure_engine() {
    state=$(ask state)
    case $state in
        running) return ;;
        forbidden)
            fail "no permission to use the Docker engine" \
                "join the group docker (\`usermod -aG docker $(id -un)\`, then log in again), or run as root"
            ;;
    esac
    if [ -n "${DOCKER_HOST:-}" ] && [ -z "${PAIRLOCK_DOCKERD_OPTIONS:-}" ]; then
        fail "no Docker engine answers at DOCKER_HOST, \`$DOCKER_HOST\`" "start it, or unset DOCKER_HOST"
    fi
    [ -n "$(dockerd_path)" ] || install_engine
    start_engine
}

install_engine() {
    on_debian || fail "no Docker engine is installed" "install Docker Engine 20.10 or newer, or Docker Desktop, and start it"
    apt_install docker.io iptables ||
        fail "no Docker engine is installed" "YES=1 make demo, or \`apt-get install docker.io\` as root"
    [ -n "$(dockerd_path)" ] || fail "apt installed docker.io, and still there is no \`dockerd\`"
}

start_engine() {
    [ "$(ask state)" != running ] || return 0 # the package started it
    agreed "Start the Docker engine?" ||
        fail "no Docker engine is running" "YES=1 make demo, or start it: \`systemctl start docker\`, or \`dockerd\` as root"
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker
        await_engine || fail "the Docker engine did not start" "look at \`journalctl -u docker\`"
        return
    fi
    [ "$(id -u)" = 0 ] || fail "no Docker engine is running" "start it as root: \`dockerd\`"
    say "starting the Docker engine…"
    mkdir -p "$folder"
    : >"$folder/log"
    # pairlock's containers have no network of Docker's: where it cannot be set up, the engine runs without.
    start_dockerd || start_dockerd --iptables=false --ip6tables=false --bridge=none ||
        fail "the Docker engine did not start: $(grep -v '^See ' "$folder/log" | tail -n 1)" "look at $folder/log"
    [ "${CI:-}" = true ] || say "the engine runs in the background; stop it with: kill $(cat "$folder/pid")"
}

start_dockerd() {
    write_configuration "$folder/daemon.json"
    # shellcheck disable=SC2086  # options of a test's own engine, one word each
    setsid "$(dockerd_path)" --config-file "$folder/daemon.json" ${PAIRLOCK_DOCKERD_OPTIONS:-} "$@" \
        </dev/null >>"$folder/log" 2>&1 &
    printf '%s\n' "$!" >"$folder/pid"
    if await_engine; then
        [ -z "${PAIRLOCK_STARTED:-}" ] || cat "$folder/pid" >>"$PAIRLOCK_STARTED"
        return 0
    fi
    kill "$(cat "$folder/pid")" 2>/dev/null || true
    return 1
}

# The machine's own configuration, and gVisor where it is installed.
write_configuration() {
    runsc=$(command -v runsc || true)
    .venv/bin/python scripts/engine_configuration.py /etc/docker/daemon.json "$runsc" >"$1"
}

await_engine() {
    waited=0
    while [ "$waited" -lt "$start_seconds" ]; do
        [ "$(ask state)" != running ] || return 0
        if [ -f "$folder/pid" ] && [ ! -d /run/systemd/system ] && ! kill -0 "$(cat "$folder/pid")" 2>/dev/null; then
            return 1
        fi
        sleep 1
        waited=$((waited + 1))
    done
    return 1
}

install_gvisor() {
    command -v runsc >/dev/null 2>&1 || apt_install runsc || true
    command -v runsc >/dev/null 2>&1
}

register_gvisor() {
    agreed "Write gVisor's runtime into /etc/docker/daemon.json, and have the engine read it?" || return 1
    fresh=$(mktemp)
    write_configuration "$fresh"
    as_root mkdir -p /etc/docker
    as_root install -m 644 "$fresh" /etc/docker/daemon.json
    rm -f "$fresh"
    if [ -d /run/systemd/system ]; then
        as_root systemctl reload docker
    else
        as_root kill -HUP "$(cat /var/run/docker.pid)"
    fi
    waited=0
    while [ "$waited" -lt 20 ]; do
        ! ask runtimes | grep -qx runsc || return 0
        sleep 1
        waited=$((waited + 1))
    done
    return 1
}

if [ "$gvisor" = yes ] && on_debian && [ "$(ask state)" != running ]; then
    install_gvisor || true # before the start, so that the engine knows it at once
fi
ensure_engine
if [ "$gvisor" = yes ] && ! ask runtimes | grep -qx runsc; then
    install_gvisor || fail "gVisor's \`runsc\` is not installed" "YES=1 make test, or install the package runsc"
    register_gvisor || fail "the engine has no runtime \`runsc\`" "register it in /etc/docker/daemon.json and reload the engine"
fi
