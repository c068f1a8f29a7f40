#!/usr/bin/env bash
# Builds, starts a three-node cluster on this machine, shows it, and says what to type next.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

scripts/build.sh
raftctl="$target/release/raftctl"
"$raftctl" cluster start
echo
"$raftctl" cluster status
cat <<END

What to type next:
  make status                           the cluster, as now
  $raftctl cluster kill n1      kill -9 a node (take the leader, marked with a star) ...
  $raftctl cluster start        ... see who took over, and bring it back as follower
  make logs                             what the nodes and their event scripts said
  make stop, make clean                 stop it; stop it and remove its state
END
