#!/usr/bin/env bash
# Makes sure of what the build needs beside Rust (a C compiler and cmake, for zlib and mimalloc) and
# what the scripts need (curl), and of the toolchain's components that the arguments name (rustfmt,
# clippy). With `--package NAME` it makes sure of a Debian package instead. Says nothing and changes
# nothing when they are there.

set -euo pipefail

packages=()
# need PROGRAM PACKAGE…
need() { command -v "$1" >/dev/null 2>&1 || packages+=("${@:2}"); }
if [ "${1:-}" = --package ]; then
    need "$2" "$2"
    shift 2
else
    need cc gcc libc6-dev
    need cmake cmake
    need curl curl
fi

command -v cargo >/dev/null 2>&1 || {
    echo "setup: cargo is missing; install Rust 1.89 or newer with rustup, then try again" >&2
    exit 1
}
for component in "$@"; do
    program=cargo-${component/rustfmt/fmt}
    if ! "$program" --version >/dev/null 2>&1; then rustup component add "$component"; fi
done
[ "${#packages[@]}" -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "setup: please install ${packages[*]} (there is no sudo to do it with)" >&2
        exit 1
    fi
    as_root=(sudo)
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: please install ${packages[*]} with this system's package manager" >&2
    exit 1
fi

echo "setup: installing ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive apt-get "$@" >>"$log" 2>&1; }
if ! { apt update -qq && apt install -y -qq --no-install-recommends ca-certificates "${packages[@]}"; }; then
    cat "$log" >&2
    echo "setup: apt-get could not install ${packages[*]}" >&2
    exit 1
fi
