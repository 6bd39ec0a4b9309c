#!/usr/bin/env bash
# Checks that Docker Compose accepts docker-compose.yml. Needs no Docker engine. Without Compose the
# check is skipped; with CI=true Debian's package is installed for it.

set -euo pipefail
cd "$(dirname "$0")/.."

if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
else
    if [ "${CI:-}" = true ] && ! command -v docker-compose >/dev/null 2>&1; then
        scripts/setup.sh --package docker-compose
    fi
    if ! command -v docker-compose >/dev/null 2>&1; then
        echo "SKIPPED: docker-compose.yml (no docker compose)"
        exit 0
    fi
    compose=(docker-compose)
fi
"${compose[@]}" config --quiet
"${compose[@]}" --profile monitoring config --quiet
echo "ok: docker-compose.yml"
