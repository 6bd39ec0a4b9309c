#!/usr/bin/env bash
# Holds callboard to its own description: schemathesis makes up calls from the document at
# /api/v1/openapi.json, right ones and wrong ones, and every answer must be one that it documents.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly venv=target/schema-venv
readonly requirements=scripts/schema/requirements.txt

main() {
    have python3 || { skip "the schema test (python3 is missing)"; return; }
    installed || install || { skip "the schema test (cannot install $(head -1 "$requirements"))"; return; }
    local proxy registry
    proxy=$(free_port) registry=$(free_port)
    # Nobody listens where made-up instances are, so they are believed rather than waited for.
    start_callboard "$proxy" "$registry" "defaults: {check: off}
routes: [{match: {path: /split}, name: web-1, service: web}]"
    curl -sS -m 5 -o "$work/answer" -H 'X-Request-Id: request-1' -H 'X-Callboard-Explain: 1' \
        "http://127.0.0.1:$proxy/split" || fail "callboard answered no request"
    if ! "$venv/bin/schemathesis" --no-color --config-file scripts/schema/schemathesis.toml \
        run "http://127.0.0.1:$registry/api/v1/openapi.json" "$@" >"$work/report" 2>&1; then
        cat "$work/report"
        tail -n 20 "$work/callboard.log"
        fail "callboard is not what it says it is"
    fi
    kill -0 "$callboard_pid" || fail "callboard ended: $(cat "$work/callboard.log")"
    echo "ok: $(sed -n 's/^ *\([0-9]* generated\).*/\1/p' "$work/report") calls are answered as documented"
}

# Whether the tool is there, in the version that is asked for.
installed() { [ -x "$venv/bin/schemathesis" ] && cmp -s "$requirements" "$venv/requirements.txt"; }

install() {
    rm -rf "$venv"
    if ! {
        python3 -m venv "$venv" &&
            "$venv/bin/python" -m pip install -q -r "$requirements" &&
            cp "$requirements" "$venv/requirements.txt"
    } >"$work/install.log" 2>&1; then
        cat "$work/install.log" >&2
        return 1
    fi
}

main "$@"
