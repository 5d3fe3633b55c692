#!/bin/sh
# Ask a server for something with one client: client.sh CLIENT BASE [PAGE]. Runs inside the container.
set -eu
base=$2
page=$base${3:-/open/page}
at=$(mktemp -d)
cd "$at"
export PYTHONPATH=/opt/site PYTHONDONTWRITEBYTECODE=1
case $1 in
    curl) curl -sS --fail-with-body "$page" ;;
    curl-http2) curl -sS --http2 --fail-with-body -w ' over HTTP/%{http_version}' "$page" ;;
    curl-socks) curl -sS --fail-with-body --noproxy '' --proxy socks5h://127.0.0.1:3128 "$page" ;;
    curl-direct) curl -sS --noproxy '*' "$page" ;;
    git)
        git clone -q "$base/git/project.git" clone
        cat clone/README
        ;;
    pip)
        python3 -m pip install -q --retries 0 --no-deps --index-url "$base/simple/" --target . tinything
        cat tinything.py
        ;;
    npm)
        npm install --registry "$base/npm/" --fetch-retries 0 --no-audit --no-fund tinything
        cat node_modules/tinything/index.js
        ;;
    apt)
        mkdir -p lists/partial archives/partial
        echo "deb [trusted=yes] $base/apt tests/" > list
        for what in update "download tinything"; do
            # shellcheck disable=SC2086  # two words
            apt-get -q -o APT::Architecture=amd64 -o Dir::State="$at" -o Dir::State::status=/dev/null \
                -o Dir::Cache="$at" -o Dir::Etc::sourcelist="$at/list" -o Dir::Etc::sourceparts=/dev/null \
                -o Acquire::https::CAInfo="${SSL_CERT_FILE:-/opt/ca.pem}" -o Acquire::Retries=0 $what
        done
        ls
        ;;
    node) node /opt/code/fetch.mjs "$page" ;;
    go) /opt/fetch-go "$page" ;;
    # shellcheck disable=SC2086  # nothing, or one word
    java | java.net.http) /opt/java/bin/java ${JAVA_TRUST:-} -cp /opt/classes Fetch "$1" "$page" ;;
    *) python3 /opt/code/fetch.py "$1" "$page" ;;
esac
