#!/usr/bin/env bash
# The whole test suite: what it needs, format, lints, tests, documentation tests, simulation.
#
# A test that cannot run here prints a line `SKIPPED: why` and passes; the lines are collected and
# shown at the end. With CI=true nothing may be skipped. Runs with cargo-nextest where it is
# installed (each test in its own process) and with `cargo test` where it is not.
# SIM_SEEDS (2000) and SIM_START (0) choose the simulated histories, SIM_STORE_SEEDS (515) how many
# of them with clients of the store; RAFTCTL_LINEARIZABLE_SECONDS (120) how long real agents are in
# trouble.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

passed=0
failed=0
failures=()
skips="$target/skipped-tests.txt"
mkdir -p "$target"
: >"$skips"

# step NAME COMMAND...: runs it, notes how long it took and whether it failed.
step() {
    local name="$1" began=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if ! "$@"; then failures+=("$name"); fi
    printf '== %s: %d s\n' "$name" $((SECONDS - began))
}

# count PASSED FAILED
count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
}

dependencies() {
    scripts/test-deps.sh 2> >(tee >(grep '^SKIPPED:' >>"$skips") >&2)
    return 0 # what is missing counts as skipped, at the end
}

# The package that the lab's hosts get: quickly, from a debug build.
package() {
    have dh || return 0 # the lab says that it has no package
    DEB_PROFILE=dev scripts/deb.sh >"$target/deb.log" 2>&1 && return
    cat "$target/deb.log" >&2
    return 1
}

# nextest PROFILE ARGUMENT...: counts from its report, which also keeps what passing tests printed.
nextest() {
    local report="$target/nextest/$1/junit.xml" status=0 total bad
    rm -f "$report"
    "$CARGO" nextest run --locked --profile "$@" || status=$?
    [[ -f $report ]] || return 1
    total=$(sed -n 's/^<testsuites .*tests="\([0-9]*\)".*/\1/p' "$report")
    bad=$(sed -n 's/^<testsuites .*failures="\([0-9]*\)" errors="\([0-9]*\)".*/\1 + \2/p' "$report")
    count $((total - (bad))) $((bad))
    sed -nE 's/^( *<system-(out|err)>)?(SKIPPED: [^<]*).*/\3/p' "$report" |
        sed 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&apos;/'"'"'/g; s/&amp;/\&/g' >>"$skips"
    return $status
}

# libtest ARGUMENT...: counts from the lines that end the run of each binary.
libtest() {
    local output="$target/test-output.txt" status=0
    "$CARGO" test --locked --no-fail-fast "$@" 2>&1 | tee "$output" | grep -v '^$'
    status=${PIPESTATUS[0]}
    count "$(awk '/^test result: / { n += $4 } END { print n + 0 }' "$output")" \
        "$(awk '/^test result: / { n += $6 } END { print n + 0 }' "$output")"
    grep '^SKIPPED: ' "$output" >>"$skips"
    return "$status"
}

tests() {
    if have cargo-nextest; then
        nextest suite -E 'not binary(sim)'
    else
        # The simulator has its own step; here it only shows that it runs.
        SIM_SEEDS=20 libtest --lib --bins --tests -- --show-output
    fi
}

documentation() { libtest --doc; }

simulation() {
    export SIM_SEEDS="${SIM_SEEDS:-2000}" SIM_START="${SIM_START:-0}"
    echo "seeds: $SIM_SEEDS, from $SIM_START"
    if have cargo-nextest; then
        nextest sim --test sim
    else
        libtest --test sim
    fi
}

style() {
    local status=0
    if "$CARGO" fmt --version >/dev/null 2>&1; then
        "$CARGO" fmt --check || status=1
    fi
    if "$CARGO" clippy --version >/dev/null 2>&1; then
        "$CARGO" clippy --locked --all-targets -- -D warnings || status=1
    fi
    return $status
}

step "what the tests need" dependencies
step "format and lints" style
step "package" package
step "tests" tests
step "documentation tests" documentation
step "simulation" simulation

sort -u "$skips" -o "$skips"
skipped=$(wc -l <"$skips")
printf '\n== %d s in all\n' "$SECONDS"
if ((skipped > 0)); then
    echo "what could not be run here:"
    sed 's/^/  /' "$skips"
    [[ ${CI:-} == true ]] && failures+=("$skipped skipped, and with CI=true nothing may be")
fi
for failure in "${failures[@]}"; do echo "FAILED: $failure"; done
# A step that failed without a test of its own to show for it still counts.
((${#failures[@]} > 0 && failed == 0)) && failed=${#failures[@]}
echo "$passed passed, $failed failed, $skipped skipped"
((${#failures[@]} == 0 && failed == 0 && passed > 0))
