#!/usr/bin/env bash
# Holds the cost of a request to what it was: counts the instructions that callboard takes for one, by
# callgrind, which does not depend on what else the machine does. Counted is what serves connections, in
# a debug build, since that is what the tests have built; what matters is the difference.
#
#   scripts/cost-test.sh            compares with tests/cost.tsv
#   scripts/cost-test.sh --accept   writes it anew, after a change that is worth its cost, or a new Rust

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly expected=tests/cost.tsv
# How many hundredths a count may be above what is expected, or below before it should be written anew.
readonly tolerance=2
readonly warm=100 counted=300
# Whoever serves a connection is within this.
readonly serving='*proxy::watchdog::Watched*Future>::poll'

main() {
    local tool name lean count was failed=0
    for tool in valgrind h2load; do
        have "$tool" || scripts/setup.sh --package "${tool/h2load/nghttp2-client}" || true
        have "$tool" || { skip "the test of costs ($tool is missing)"; return; }
    done
    : >"$work/counts"
    while read -r name lean; do
        cost "$lean"
        printf '%s\t%s\n' "$name" "$count" >>"$work/counts"
        was=$(awk -v name="$name" '$1 == name { print $2 }' "$expected" 2>/dev/null || true)
        echo "cost: $name takes $count instructions a request (expected ${was:-nothing yet})"
        if [ -z "$was" ] || [ $((count * 100)) -gt $((was * (100 + tolerance))) ]; then
            failed=1
        elif [ $((count * 100)) -lt $((was * (100 - tolerance))) ]; then
            echo "cost: $name has become cheaper; scripts/cost-test.sh --accept keeps it so"
        fi
    done <<'JOBS'
get on
get-pingora off
JOBS
    if [ "${1:-}" = --accept ]; then
        cp "$work/counts" "$expected"
        echo "cost: written to $expected"
    elif [ "$failed" = 1 ]; then
        fail "a request costs over $tolerance% more than before (see $expected; --accept takes it)"
    fi
}

# cost LEAN: counts the instructions of one request, on the lean path or not. What it starts, it starts
# in this shell, which ends all of it however it ends itself.
cost() {
    local proxy registry target
    proxy=$(free_port) registry=$(free_port)
    target=http://127.0.0.1:$proxy/hello/
    {
        echo "proxy: {listen: [\"127.0.0.1:$proxy\"], threads: 1, lean_path: $1}"
        echo "registry: {listen: \"127.0.0.1:$registry\", store: memory}"
        echo "telemetry: {explain: off}"
    } >"$work/proxy.yaml"
    start "$work/callgrind.log" valgrind --tool=callgrind --callgrind-out-file="$work/callgrind.out" \
        --collect-atstart=no --toggle-collect="$serving" --instr-atstart=yes \
        "$(callboard_bin)" run --config "$work/proxy.yaml"
    callboard_pid=$pid
    until_true 120 "callboard is ready" callboard_settled "$registry"
    kill -0 "$callboard_pid" 2>/dev/null || fail "callboard did not start: $(cat "$work/callgrind.log")"
    CALLBOARD=http://127.0.0.1:$registry start_example rust cost-1
    local instance=$pid
    until_true 60 "the service is reached" curl -fsS -m 5 "$target"
    load "$warm" "$target"
    callgrind_control --zero "$callboard_pid" >>"$work/control" 2>&1
    load "$counted" "$target"
    stop "$callboard_pid" || true
    stop "$instance" || true
    count=$(($(sed -n 's/^\(totals\|summary\): *//p' "$work/callgrind.out" | tail -n 1) / counted))
}

# load COUNT URL: so many requests, one after the other.
load() {
    h2load --h1 -c 1 -n "$1" "$2" >"$work/load" 2>&1
    grep -q "$1 succeeded" "$work/load" || fail "requests failed: $(cat "$work/load")"
}

main "$@"
