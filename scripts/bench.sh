#!/usr/bin/env bash
# bench.sh [ARGUMENT...]: measures the programs as they are shipped.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scripts/build.sh
"$CARGO" bench --locked --bench cluster -- "$@"
