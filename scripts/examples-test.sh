#!/usr/bin/env bash
# Runs every example service against a real callboard: it signs in, answers through the proxy,
# signs in again when callboard has lost it, and leaves on SIGTERM.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

main() {
    proxy=$(free_port) registry=$(free_port)
    export CALLBOARD=http://127.0.0.1:$registry
    start_callboard "$proxy" "$registry"

    local language languages=() pids=()
    for language in python node go java rust; do
        if example_available "$language"; then
            start_example "$language" "$language-1"
            languages+=("$language") pids+=("$pid")
        else
            skip "the $language example (its toolchain is missing)"
        fi
    done

    for language in "${languages[@]}"; do
        until_true 60 "$language-1 is ready" is_ready "$language-1"
        until_true 30 "$language-1 answers through the proxy" answers "$language"
    done

    stop "$callboard_pid" || fail "callboard ended with status $?: $(cat "$work/callboard.log")"
    start_callboard "$proxy" "$registry"
    for language in "${languages[@]}"; do
        until_true 30 "$language-1 has signed in again" is_ready "$language-1"
    done

    local i
    for i in "${!languages[@]}"; do
        language=${languages[i]}
        stop "${pids[i]}" || fail "$language-1 ended with status $?: $(cat "$work/$language-1.log")"
        grep -q '^left: .*"in_flight": *0' "$work/$language-1.log" ||
            fail "$language-1 did not say how it left: $(cat "$work/$language-1.log")"
        is_gone "$language-1" || fail "$language-1 has left and is still registered"
        echo "ok: $language"
    done
}

# Whether the next answer of hello comes from this language's instance, and is whole.
answers() {
    local body
    body=$(curl -fsS -m 5 "http://127.0.0.1:$proxy/hello/a%20b?c=d")
    [[ $body == *"\"language\":\"$1\""* && $body == *"\"instance\":\"$1-1\""* && $body == *'"path":"/a%20b?c=d"'* ]]
}

main
