#!/usr/bin/env bash
# Looks at the dashboard of a real callboard with a real browser: Debian's Chromium, driven by
# playwright-core from npm. Both are installed when they are missing.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly folder=tests/dashboard

main() {
    { have node && have npm; } || { skip "the tests of the dashboard (node and npm are missing)"; return; }
    browser || { skip "the tests of the dashboard (cannot install chromium)"; return; }
    modules || { skip "the tests of the dashboard (npm cannot install what $folder/package-lock.json names)"; return; }
    CALLBOARD_BIN=$(realpath "$(callboard_bin)")
    CHROMIUM=$(command -v chromium)
    export CALLBOARD_BIN CHROMIUM
    (cd "$folder" && node --test --test-concurrency=1 --test-reporter=spec ./*.test.mjs)
}

# Not named chromium: `command -v` would find the function.
browser() {
    have chromium && return
    echo "dashboard: installing chromium"
    scripts/setup.sh --package chromium
}

# What is there already is kept as long as it is what the lock names.
modules() {
    local lock=$folder/package-lock.json installed=$folder/node_modules/.installed-lock
    cmp -s "$lock" "$installed" && return
    echo "dashboard: installing playwright-core and axe-core"
    npm ci --prefix "$folder" --no-audit --no-fund --ignore-scripts >"$work/npm.log" 2>&1 ||
        { cat "$work/npm.log" >&2; return 1; }
    cp "$lock" "$installed"
}

main
