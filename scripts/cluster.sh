#!/usr/bin/env bash
# cluster.sh VERB [ARGUMENT...]: `raftctl cluster VERB` with the program that was built here.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

raftctl="$target/release/raftctl"
verb="$1"
shift
if [[ ! -d .raftctl ]]; then
    case "$verb" in
    stop | clean) say "there is no local cluster here"; exit 0 ;;
    start) ;;
    *) die "there is no local cluster here; start one with: make launch" ;;
    esac
fi
[[ -x $raftctl ]] || scripts/build.sh
case "$verb" in
clean)
    "$raftctl" cluster stop
    "$raftctl" cluster clean
    rm -rf .raftctl
    ;;
# A node that does not answer (exit status 3) is what was asked about, not a failure of asking.
status) "$raftctl" cluster status "$@" || [[ $? == 3 ]] ;;
*) exec "$raftctl" cluster "$verb" "$@" ;;
esac
