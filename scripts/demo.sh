#!/usr/bin/env bash
# Shows in half a minute what callboard does: requests spread over services in several languages
# while one of them is killed, one joins and one leaves. Fails when a single request failed.
# DEMO_FAST=1 shows each picture as soon as it says something.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# How many requests one picture is made of.
look=$([ "${DEMO_FAST:-}" = 1 ] && echo 200 || echo 1500)
bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi

main() {
    proxy=$(free_port) registry=$(free_port)
    export CALLBOARD=http://127.0.0.1:$registry
    say "callboard is started: clients call 127.0.0.1:$proxy, services sign in at 127.0.0.1:$registry"
    start_callboard "$proxy" "$registry"

    say "Services sign in. All are instances of \"hello\"; callboard probes each before it sends anything"
    start_services
    local id
    for id in "${ids[@]}"; do
        until_true 60 "$id is ready" is_ready "$id"
        echo "  $id is ready"
    done

    touch "$work/requests-1" "$work/requests-2"
    start "$work/requests-1" load
    local load_1=$pid
    start "$work/requests-2" load
    local load_2=$pid
    say "Two clients call http://127.0.0.1:$proxy/hello/… without a pause. Who answers:"
    picture

    local victim=${ids[0]} before
    say "kill -9 of $victim, with requests under way"
    before=$(answered)
    disown "${pids[0]}" # or the shell reports its death
    kill -KILL "${pids[0]}"
    local since=$SECONDS
    until_true 30 "callboard has forgotten $victim" is_gone "$victim"
    echo "  its lease ran out after $((SECONDS - since)) s; $(($(answered) - before)) requests meanwhile, $(failed) failed. Who answers now:"
    picture

    local newcomer="${languages[0]}-new"
    say "$newcomer joins"
    start_example "${languages[0]}" "$newcomer"
    until_true 60 "$newcomer is ready" is_ready "$newcomer"
    picture

    local leaver=${ids[1]}
    say "$leaver is told to stop (SIGTERM): it asks callboard to drain it, waits for what is in flight, and ends"
    stop "${pids[1]}" || fail "$leaver ended with status $?: $(cat "$work/$leaver.log")"
    sed -n 's/^left: /  callboard to it: /p' "$work/$leaver.log"
    picture

    touch "$work/enough"
    wait "$load_1" "$load_2"
    say "$(answered) requests, $(failed) failed"
    if [ "$(failed)" -ne 0 ]; then
        requests | grep -v ' 200$' | sort | uniq -c | sort -rn | head -n 5
        exit 1
    fi
}

# One instance per language that this machine has, and in any case three.
start_services() {
    languages=() ids=() pids=()
    local language
    for language in python node go java rust; do
        if example_available "$language"; then languages+=("$language"); fi
    done
    if [ "${#languages[@]}" -eq 0 ]; then
        local flags=()
        [[ $(callboard_bin) != */release/* ]] || flags=(--release)
        cargo build --locked "${flags[@]+"${flags[@]}"}" --example hello
        languages=(rust)
    fi
    local copy=1
    while [ "$copy" -eq 1 ] || [ "${#ids[@]}" -lt 3 ]; do
        for language in "${languages[@]}"; do
            start_example "$language" "$language-$copy"
            ids+=("$language-$copy") pids+=("$pid")
        done
        copy=$((copy + 1))
    done
}

# A client: one request after another on one connection, a line for each: body, then status.
load() {
    while [ ! -e "$work/enough" ]; do
        curl -s -m 10 -w ' %{http_code}\n' "http://127.0.0.1:$proxy/hello/[1-25]" || true
        sleep 0.05
    done
}

requests() { cat "$work/requests-1" "$work/requests-2"; }
answered() { requests | grep -cE ' [0-9]{3}$' || true; }
failed() { requests | grep -E ' [0-9]{3}$' | grep -cv ' 200$' || true; }

# Draws who answers the next requests.
picture() {
    local from_1 from_2 goal
    from_1=$(wc -l <"$work/requests-1") from_2=$(wc -l <"$work/requests-2")
    goal=$(($(answered) + look))
    until_true 60 "$look more requests are answered" reached "$goal"
    {
        tail -n +$((from_1 + 1)) "$work/requests-1"
        tail -n +$((from_2 + 1)) "$work/requests-2"
    } | sed -n 's/.*"instance": *"\([^"]*\)".* 200$/\1/p' | sort | uniq -c | bars
}

reached() { [ "$(answered)" -ge "$1" ]; }

# Reads "COUNT NAME" lines.
bars() {
    local count name bar
    while read -r count name; do
        printf -v bar '%*s' $((count * 100 / look)) ''
        printf '  %-12s %s %d\n' "$name" "${bar// /█}" "$count"
    done
}

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

main
