#!/usr/bin/env bash
# Builds target/release-pgo/callboard, the fastest callboard there is: all of it optimised as one
# (fat LTO) for what it was seen doing under the load of `make bench` (profile-guided
# optimisation). That takes two builds of the whole program beside the bench's own. What has not
# changed since the last time is neither built nor watched again. Without the tools for it, callboard
# is optimised as one, and this says so.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly profile=release-pgo
readonly built=target/$profile/callboard

# Flags of their own would make Cargo build everything anew in the folder that the other targets use.
readonly pgo=$PWD/target/pgo
readonly instrumented=$pgo/instrumented
readonly optimised=$pgo/optimised
readonly raw=$pgo/raw
readonly profdata=$pgo/callboard.profdata

# What callboard is watched at: each kind of exchange with clients, few and many instances, the access
# log, and instances that come and go.
readonly workloads=get,large,post,connect,tls,http2,websocket,endpoints-1,endpoints-10,log,changes
readonly callboards=callboard,callboard-reuse,callboard-changes

main() {
    touch "$work/started"
    scripts/setup.sh
    about=$(rustc -vV)
    host=$(sed -n 's/^host: //p' <<<"$about")
    llvm=$(sed -n 's/^LLVM version: \([0-9]*\).*/\1/p' <<<"$about")
    if tool=$(llvm_profdata); then
        watch_it
        step "optimising for it"
        build "$optimised" "-Cprofile-use=$profdata"
        seen="fat LTO, profile-guided"
    else
        skip "profile-guided optimisation: this Rust needs llvm-profdata of LLVM $llvm, which neither" \
            "'rustup component add llvm-tools' nor the package llvm-$llvm gives here"
        step "optimising"
        build "$optimised"
        seen="fat LTO alone"
    fi
    install -D "$(binary "$optimised")" "$built"
    # Sources that were edited meanwhile are newer than what was built.
    touch -r "$work/started" "$built"
    echo "release: $built, $(du -h --apparent-size "$built" | cut -f1), $seen; 'make install' installs it"
}

# A profile can be read by the tools of the LLVM that wrote it; the toolchain's own are the nearest.
llvm_profdata() {
    find_profdata && return
    step "getting llvm-profdata of LLVM $llvm" >&2
    ! have rustup || scripts/setup.sh llvm-tools >"$work/tools.log" 2>&1 || true
    find_profdata && return
    scripts/setup.sh --package "llvm-$llvm" >>"$work/tools.log" 2>&1 || true
    find_profdata && return
    cat "$work/tools.log" >&2
    return 1
}

find_profdata() {
    local found
    for found in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" \
        "$(command -v "llvm-profdata-$llvm" || true)" "$(command -v llvm-profdata || true)"; do
        if [ -n "$found" ] && [[ $("$found" merge --version 2>/dev/null) == *"LLVM version $llvm."* ]]; then
            echo "$found"
            return
        fi
    done
    return 1
}

# Leaves what callboard was seen doing in $profdata.
watch_it() {
    step "building callboard so that it can be watched"
    build "$instrumented" "-Cprofile-generate=$raw"
    [ ! "$profdata" -nt "$(binary "$instrumented")" ] || return 0
    step "building the load"
    cargo bench --locked --bench peers --no-run
    step "watching it at work"
    rm -rf "$raw"
    # With CI set, a workload that fails fails the bench.
    watched >"$work/callboard"
    chmod +x "$work/callboard"
    CALLBOARD_BIN=$work/callboard CI=true \
        cargo bench --locked --bench peers -- --rounds 1 --seconds 2 \
        --only "$workloads" --proxy "$callboards" >"$work/bench.log" 2>&1 ||
        fail "the load of 'make bench' on an instrumented callboard: $(tail -n 40 "$work/bench.log")"
    until_true 60 "the instrumented callboards have ended" have_ended
    [ "$(find "$raw" -name '*.profraw' -size +0 | wc -l)" -eq "$(wc -l <"$work/pids")" ] ||
        fail "not every instrumented callboard left in $raw what it had counted"
    "$tool" merge -o "$work/profdata" "$raw"/*.profraw
    # Cargo does not look whether dependencies were built for this profile or an earlier one. Build
    # scripts and macros, which only run while it builds, are the same as before.
    rm -rf "$raw" "$optimised"
    mkdir "$optimised"
    cp -al "$instrumented/$profile" "$optimised/"
    mv "$work/profdata" "$profdata"
}

# A stand-in for the instrumented callboard, which writes what it has counted when it ends by itself.
# The bench stops a callboard while requests are in flight and does not wait until it has drained.
watched() {
    cat <<EOF
#!/usr/bin/env bash
LLVM_PROFILE_FILE='$raw/%p-%m.profraw' '$(binary "$instrumented")' "\$@" &
callboard=\$!
echo "\$callboard" >>'$work/pids'
trap 'kill -TERM "\$callboard"; exit' TERM
wait "\$callboard"
EOF
}

have_ended() {
    local pids
    mapfile -t pids <"$work/pids"
    ! kill -0 "${pids[@]}"
}

# build FOLDER [FLAG]: with what the environment's RUSTFLAGS say. A named target keeps the flags from
# build scripts and macros, which run while this builds and are no part of callboard.
build() {
    local flags
    read -ra flags <<<"${RUSTFLAGS:-}"
    flags+=("${@:2}")
    (
        IFS=$'\x1f' # a folder's name may have spaces
        export CARGO_ENCODED_RUSTFLAGS="${flags[*]}"
        cargo build --locked --profile "$profile" --bin callboard --target "$host" --target-dir "$1"
    )
}

binary() { echo "$1/$host/$profile/callboard"; }

step() { echo "release: $*"; }

main
