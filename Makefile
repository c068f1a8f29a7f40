# raftctl, the front door. Each target is one line of what a person would type; the longer ones
# are scripts in scripts/. `make help` prints this list from the comments behind the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

CARGO ?= cargo
export CARGO

# How many seeds `make sim` runs and where it starts; a failure names the seed that replays it.
SEEDS ?= 20000
START ?= 0
# One node for `make logs`; all of them without it.
NODE ?=
# How often `make lab` repeats each scenario, for its figures.
TRIALS ?= 1
export TRIALS
# Arguments of the benchmark, for example BENCH="--trials 100 kill".
BENCH ?=

.PHONY: help launch stop status logs test lab build deb clean clean-all bench sim fmt lint

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

launch: ## build, start a three-node cluster here (earlier state is kept), show its status
	@scripts/launch.sh

stop: ## stop the local cluster; its state stays
	@scripts/cluster.sh stop

status: ## show the local cluster
	@scripts/cluster.sh status

logs: ## print the logs of the local cluster (NODE=n1 for one node)
	@scripts/cluster.sh logs $(NODE)

test: ## run the whole test suite; as root, install what it needs first
	@scripts/test.sh

lab: ## the scenarios on real systemd hosts (root), TRIALS=n times each for the figures
	@scripts/lab.sh

build: ## build the programs into target/release
	@scripts/build.sh

deb: ## build the Debian package into target/deb (DEB_PROFILE=dev: quickly, from a debug build)
	@scripts/deb.sh

clean: ## stop the local cluster and remove its state
	@scripts/cluster.sh clean

clean-all: clean ## the same, and everything that was built
	$(CARGO) clean

bench: ## measure, beside bare-steps floors; writes target/bench-report.md (BENCH="--help")
	@scripts/bench.sh $(BENCH)

sim: ## simulate SEEDS=n histories, from START=n
	@scripts/sim.sh $(SEEDS) $(START)

fmt: ## format the sources
	$(CARGO) fmt

lint: ## check format, lints, and the crates we stand on if cargo-deny is there
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check; \
	else echo "cargo-deny is not installed: deny.toml was not checked" >&2; fi
