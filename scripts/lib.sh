# What the scripts share. Source it: it changes to the repository's root, gives a temporary folder
# in $work, and at exit ends exactly the processes that this shell has started.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Loopback never goes through a proxy that the environment names.
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

work=$(mktemp -d "${TMPDIR:-/tmp}/callboard.XXXXXX")
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cleanup() {
    local status=$? pid
    set +e
    exec 2>/dev/null # the shell would report each of the processes it ends
    for pid in $(jobs -p); do kill -KILL "$pid"; done
    wait
    rm -rf "$work"
    exit "$status"
}

have() { command -v "$1" >/dev/null 2>&1; }

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# A missing optional tool is skipped by name; where CI is set nothing may be skipped silently.
skip() {
    [ "${CI:-}" != true ] || fail "$*, and CI=true"
    printf 'SKIPPED: %s\n' "$*"
}

# start LOG COMMAND…: runs a command in the background; its process id is in $pid.
start() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 &
    pid=$!
}

# stop PID: asks a process to leave and waits until it has; its exit status is the result.
stop() {
    kill -TERM "$1"
    wait "$1"
}

# until_true SECONDS WHAT COMMAND…: waits until a command succeeds, and fails when it never does.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "waited in vain until $what"
        sleep 0.05
    done
}

# A loopback port below the range from which systems take outgoing ports, free at this moment.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((15000 + RANDOM % 15000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail "found no free port between 15000 and 29999"
}

# The program to run: $CALLBOARD_BIN, else what is built (release first), else a debug build.
callboard_bin() {
    local built
    for built in "${CALLBOARD_BIN:-}" target/release/callboard target/debug/callboard; do
        if [ -n "$built" ] && [ -x "$built" ]; then
            echo "$built"
            return
        fi
    done
    cargo build --locked --bin callboard --example hello >&2
    echo target/debug/callboard
}

# start_callboard PROXY-PORT REGISTRY-PORT [LINES]: runs callboard on these ports with LINES of
# YAML added to the configuration, until it is ready; its process id is in $pid.
start_callboard() {
    local store
    store=$(mktemp -d "$work/store.XXXXXX") # nobody is left from the last one
    cat >"$work/proxy.yaml" <<YAML
proxy: {listen: ["127.0.0.1:$1"]}
registry: {listen: "127.0.0.1:$2", store: {sqlite: {path: "$store/callboard.db"}}}
${3:-}
YAML
    start "$work/callboard.log" "$(callboard_bin)" run --config "$work/proxy.yaml"
    callboard_pid=$pid
    until_true 30 "callboard on port $2 is ready or has ended" callboard_settled "$2"
    kill -0 "$callboard_pid" 2>/dev/null || fail "callboard did not start: $(cat "$work/callboard.log")"
}

callboard_settled() {
    ! kill -0 "$callboard_pid" 2>/dev/null || curl -fsS -m 2 "http://127.0.0.1:$1/readyz"
}

# Whether the toolchain of an example is there.
example_available() {
    case $1 in
        python) have python3 ;;
        node) have node ;;
        go) have go ;;
        java) have java && have javac ;;
        rust) [ -x "$(rust_example)" ] ;;
    esac
}

rust_example() { echo "$(dirname "$(callboard_bin)")/examples/hello"; }

# start_example LANGUAGE ID: runs an example service as instance ID; its process id is in $pid.
# CALLBOARD names the registry. Nothing stands between that process and the service, so that a
# signal reaches it.
start_example() {
    local command
    case $1 in
        python) command=(python3 examples/python/hello.py) ;;
        node) command=(node examples/node/hello.mjs) ;;
        go)
            [ -x "$work/hello-go" ] || go build -o "$work/hello-go" examples/go/hello.go
            command=("$work/hello-go")
            ;;
        java) command=(java examples/java/Hello.java) ;;
        rust) command=("$(rust_example)") ;;
    esac
    INSTANCE_ID=$2 start "$work/$2.log" "${command[@]}"
}

# availability ID: what callboard says of an instance of hello: ready, draining, … or nothing.
availability() {
    curl -fsS -m 5 "$CALLBOARD/api/v1/services/hello/instances/$1" 2>/dev/null |
        sed -n 's/.*"availability": *"\([a-z]*\)".*/\1/p' || true
}

is_ready() { [ "$(availability "$1")" = ready ]; }
is_gone() { [ "$(curl -sS -m 5 -o /dev/null -w '%{http_code}' "$CALLBOARD/api/v1/services/hello/instances/$1")" = 404 ]; }
