#!/usr/bin/env bash
# Installs what `make bench` needs beside cargo: the load, and whom we compare with. Without them
# the report says that it did not measure this part.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# may_install COMMAND PACKAGE
may_install() {
    have "$1" && return 1
    is_root && have apt-get && install "$2" && return
    say "not measured: $1 is not installed (package $2)"
    return 1
}

may_install wrk wrk || true
# The package starts a node of its own; the bench starts others, and wants the processor for them.
if may_install etcd etcd-server; then systemctl disable --now etcd.service 2>/dev/null || true; fi
