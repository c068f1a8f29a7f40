#!/usr/bin/env bash
# lab.sh [FILTER...]: builds the package and runs the scenarios on real systemd hosts, as root.
# TRIALS (1) says how often each of them is repeated for the figures, which are shown at the end.
# DEB_PROFILE (dev) chooses the build that is packed; figures for others are of a release build.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

is_root || die "a lab of systemd hosts needs root"
scripts/test-deps.sh || say "what is missing is skipped"
export DEB_PROFILE="${DEB_PROFILE:-dev}" TRIALS="${TRIALS:-1}"
say "building the package ($DEB_PROFILE)"
mkdir -p "$target"
scripts/deb.sh >"$target/deb.log" 2>&1 || { cat "$target/deb.log" >&2; exit 1; }

status=0
if have cargo-nextest; then
    report="$target/nextest/lab/junit.xml"
    rm -f "$report"
    "$CARGO" nextest run --locked --profile lab --test lab "$@" || status=$?
else
    report="$target/lab-output.txt"
    "$CARGO" test --locked --test lab -- --show-output --test-threads=2 "$@" |
        tee "$report" || status=$?
fi
[[ -f $report ]] && grep -hoE '(figure|SKIPPED): .*' "$report" | sort -u
exit $status
