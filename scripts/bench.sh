#!/usr/bin/env bash
# bench.sh [ARGUMENT...]: measures the programs as they are shipped.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_build_tools
"$CARGO" build --locked --profile shipped --bins
scripts/bench-deps.sh
"$CARGO" bench --locked --bench cluster -- "$@"
# Durable appends, beside a bare write and redb; part of a whole run only.
[[ $# -gt 0 ]] || "$CARGO" bench --locked --bench log
[[ $# -gt 0 ]] && exit 0
# Hand-over between real systemd hosts, beside what systemd alone takes; see tests/lab.
is_root || { say "not measured: the hosts of the lab need root"; exit 0; }
TRIALS="${TRIALS:-10}" DEB_PROFILE=shipped scripts/lab.sh -E 'test(/floor::|figures::|service::a_transfer/)
    + test(/service::the_agent_of_the_leader_is_stopped|service::the_host_of_the_leader_reboots/)
    + test(/faults::the_agent_of_the_leader_is_killed|faults_host::the_leader_is_cut_off/)
    + test(/faults_host::the_leader_loses_its_power/)'
