#!/bin/sh
# The client of docker-compose.yml: calls $TARGET without end and says every two seconds who
# answered, and how many requests have failed since it started. Runs in a minimal image: POSIX sh.

set -eu

until curl -fs -m 2 -o /dev/null "$TARGET"; do sleep 0.2; done

failed=0
while :; do
    answers=$(
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            curl -s -m 10 -w ' %{http_code}\n' "${TARGET}[1-20]" || true
            sleep 0.2
        done
    )
    failed=$((failed + $(printf '%s\n' "$answers" | grep -cv ' 200$' || true)))
    printf '%s\n' "$answers" |
        sed -n 's/.*"language":"\([^"]*\)".*"instance":"\([^"]*\)".*/\1 \2/p' | sort | uniq -c |
        awk '{ printf "%s %s: %d   ", $2, $3, $1 }'
    printf 'failed since the start: %d\n' "$failed"
done
