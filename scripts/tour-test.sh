#!/usr/bin/env bash
# Runs the tour in README.md, command by command, against a fresh callboard and compares what it
# prints with what the page says it prints. The tour is what stands between the two markers: each
# `sh` block is run, and a `text` block behind it is its output, in which … stands for anything.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

main() {
    have python3 || { skip "the README's tour (python3 is missing)"; return; }
    local proxy registry upstream
    proxy=$(free_port) registry=$(free_port) upstream=$(free_port)
    # The page's ports may be taken on this machine.
    sed "s/127\.0\.0\.1:8080/127.0.0.1:$proxy/g; s/127\.0\.0\.1:8500/127.0.0.1:$registry/g; s/9001/$upstream/g" \
        README.md >"$work/page"
    split "$work/page"
    start_callboard "$proxy" "$registry"

    local step
    for step in "$work"/step-*.sh; do
        # In this shell, as a reader would: later steps use the jobs of earlier ones.
        # shellcheck disable=SC1090
        source "$step" >"$work/output" 2>&1 </dev/null || true
        if [ ! -e "${step%.sh}.text" ]; then continue; fi
        matches "${step%.sh}.text" "$work/output" ||
            fail "README.md: after $(cat "$step")
it says:
$(cat "${step%.sh}.text")
but it is:
$(cat "$work/output")"
    done
    echo "ok: $(find "$work" -name 'step-*.sh' | wc -l) steps of the tour do what README.md says"
}

# Writes the tour's blocks as step-NN.sh and step-NN.text.
split() {
    awk -v work="$work" '
        /^<!-- tour:begin -->$/ { tour = 1 }
        /^<!-- tour:end -->$/ { tour = 0 }
        tour && /^```sh$/ { step++; file = sprintf("%s/step-%02d.sh", work, step); next }
        tour && /^```text$/ { file = sprintf("%s/step-%02d.text", work, step); next }
        /^```$/ { if (file) close(file); file = ""; next }
        file { print >file }
    ' "$1"
    [ -e "$work/step-01.sh" ] || fail "README.md has no tour between its markers"
}

# Whether the second file reads as the first one says, line by line.
matches() {
    local pattern expected actual
    while IFS= read -r expected <&3; do
        IFS= read -r actual <&4 || [ -n "$actual" ] || return 1
        actual=${actual%$'\r'}
        pattern=${expected//\\/\\\\}
        pattern=${pattern//\*/\\*}
        pattern=${pattern//\?/\\?}
        pattern=${pattern//\[/\\[}
        pattern=${pattern//…/*}
        # shellcheck disable=SC2053
        [[ $actual == $pattern ]] || return 1
    done 3<"$1" 4<"$2"
    [ "$(wc -l <"$1")" -ge "$(grep -c '' "$2")" ]
}

main
