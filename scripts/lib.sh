# What the other scripts share. Sourced, with the package as current directory.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

: "${CARGO:=cargo}"
target="${CARGO_TARGET_DIR:-target}"
# A cargo that was just installed may not be on the path of this shell yet.
command -v "$CARGO" >/dev/null || PATH="$HOME/.cargo/bin:$PATH"

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [[ $(id -u) == 0 ]]; }
say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# install PACKAGE...: from Debian, without questions. Needs root.
install() {
    say "installing: $*"
    local options=(-y -qq --no-install-recommends)
    export DEBIAN_FRONTEND=noninteractive
    apt-get install "${options[@]}" "$@" >/dev/null 2>&1 && return
    apt-get update -qq >/dev/null && apt-get install "${options[@]}" "$@" >/dev/null
}

# What building needs: cargo, and a C compiler, which cargo calls as its linker.
need_build_tools() {
    have "$CARGO" || die "cargo is not installed; see https://rustup.rs"
    have cc && return
    if is_root && have apt-get; then
        install gcc libc6-dev || die "could not install gcc, which cargo needs as its linker"
    else
        die "a C compiler is needed as linker; install it with: sudo apt-get install gcc libc6-dev"
    fi
}
