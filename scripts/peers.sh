#!/usr/bin/env bash
# Installs the clients and servers that the tests let callboard stand between, into target/peers: see
# tests/peers/README.md. Says nothing and changes nothing when they are there.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly peers=$PWD/target/peers
readonly requirements=tests/peers/requirements.txt
readonly pebble=github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1

main() {
    mkdir -p "$peers/bin"
    debian redis-server redis-server
    debian redis-cli redis-tools
    debian mosquitto mosquitto
    debian nghttp nghttp2-client
    debian openssl openssl
    debian tmux tmux
    prometheus || skip "the tests with Prometheus (cannot get Debian's package prometheus)"
    debian groff groff-base
    python || skip "the tests with Python's gRPC, WebSockets and HTTP/2 (cannot install $requirements)"
    go_peers || skip "the tests with Go's gRPC and OpenTelemetry's collector (cannot build tests/peers/go)"
    acme || skip "the tests with an ACME server (cannot install $pebble)"
}

# debian PROGRAM PACKAGE
debian() {
    have "$1" && return
    installing "$2"
    if ! { as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends "$2"; }; then
        cat "$work/log" >&2
        skip "the tests with $1 (cannot install $2)"
    fi
}

as_root() {
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
    "${sudo[@]+"${sudo[@]}"}" env DEBIAN_FRONTEND=noninteractive "$@" >>"$work/log" 2>&1
}

# Installed, the package would start a server for everybody.
prometheus() {
    [ -x "$peers/prometheus/promtool" ] && return
    have apt-get && have dpkg || return
    installing prometheus
    mkdir -p "$peers/prometheus" "$work/prometheus"
    {
        { as_root apt-get update -qq || true; } &&
            (cd "$work/prometheus" && apt-get download -qq prometheus) &&
            dpkg -x "$work"/prometheus/prometheus_*.deb "$work/prometheus" &&
            install -m 755 "$work"/prometheus/usr/bin/prom{etheus,tool} "$peers/prometheus/"
    } >>"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

python() {
    cmp -s "$requirements" "$peers/venv/requirements.txt" && return
    have python3 || return
    installing "Python's peers"
    rm -rf "$peers/venv"
    {
        python3 -m venv "$peers/venv" &&
            "$peers/venv/bin/python" -m pip install -q -r "$requirements" &&
            cp "$requirements" "$peers/venv/requirements.txt"
    } >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

# The build is Go's own to repeat or not.
go_peers() {
    have go || return
    (cd tests/peers/go && go build -o "$peers/bin/" ./...) >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; return 1; }
}

acme() {
    [ -x "$peers/bin/pebble" ] && return
    have go || return
    installing pebble
    GOBIN=$peers/bin go install "$pebble" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

installing() { echo "peers: installing $1"; }

main
