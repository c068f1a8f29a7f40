#!/bin/sh
# An event script: says what it was told. Arguments are EVENT ROLE CLUSTER, the same and more is in
# the environment, and as JSON on standard input.
set -eu

echo "event $1, role $2, cluster $3"
env | grep '^RAFTCTL_' | sort
