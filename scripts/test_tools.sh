#!/bin/sh
# See to it that the programs which tests run against are there: scripts/test_tools.sh [long]
# Without those of the long tier some everyday tests are skipped; CI has them, and skips none for their lack.
# One line each below: the tier that needs it, a file of the package (of several, the first that is there), the package.
set -eu
cd "$(dirname "$0")/.."
. scripts/talk.sh

tier=${1:-everyday}

wanted() {
    [ "$1" = everyday ] || [ "$tier" = long ]
}

missing=
while read -r needed_by file package; do
    wanted "$needed_by" || continue
    [ -e "$file" ] || missing="$missing $package"
done <<LIST
everyday /usr/bin/git git
everyday /usr/bin/patch patch
everyday /bin/busybox busybox-static
everyday /usr/bin/docker-registry docker-registry
everyday /usr/share/doc/musl musl
everyday /usr/sbin/ip iproute2
long /usr/bin/chromium chromium
long /usr/bin/npm npm
long /usr/bin/curl curl
long /usr/bin/go golang-go
long /usr/bin/javac default-jdk-headless
long /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf fonts-dejavu-core
long /usr/sbin/sshd openssh-server
long /usr/bin/gcc gcc
long /usr/include/stdio.h libc6-dev
long /usr/bin/strace strace
LIST

if [ -n "$missing" ]; then
    # shellcheck disable=SC2086  # one word for each package
    apt_install $missing || fail "tests need$missing" "YES=1 make test, or install by apt:$missing"
fi
[ "$tier" = long ] || exit 0
major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "$major" -ge 20 ] || fail "the long tests need Node.js 20 or newer, found $major" "install it, with its own npm, from nodejs.org"
