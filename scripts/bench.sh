#!/usr/bin/env bash
# bench.sh [ARGUMENT...]: measures the programs as they are shipped.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scripts/build.sh
"$CARGO" bench --locked --bench cluster -- "$@"
# Durable appends, beside a bare write and redb; part of a whole run only.
[[ $# -gt 0 ]] || "$CARGO" bench --locked --bench log
