#!/usr/bin/env bash
# Installs what the test suite needs beside cargo; says plainly what is missing when it may not.
# Exits 1 if something is missing.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_build_tools

# command (- for a package without one), Debian package, what is tested with it
needs=(
    "node nodejs event scripts written in JavaScript"
    "busctl systemd the private socket, spoken to by another D-Bus implementation"
    "dpkg-buildpackage dpkg-dev the Debian package"
    "dh debhelper the Debian package"
    "fakeroot fakeroot the Debian package"
    "lintian lintian the rules of Debian for the package"
    "mandoc mandoc the manual pages"
    "ip iproute2 nodes cut off from each other, in network namespaces"
    "systemd-nspawn systemd-container real systemd hosts"
    "nft nftables hosts cut off from each other"
    "dbus-daemon dbus the bus of such a host"
    "pkcheck polkitd what the agent may do on such a host"
    "- libpam-systemd sessions on such a host"
    "mkfs.ext4 e2fsprogs disks that fill up, hang and die"
    "mmdebstrap mmdebstrap the package on a minimal Debian"
    "eatmydata eatmydata the same, made in half the time"
    "arping iputils-arping the virtual address of the README"
    "- postgresql-15 the promotion of the README"
    "curl curl the examples of the README"
    "- python3-venv the OpenAPI document against real agents"
    "dpkg-buildpackage dpkg-dev the package itself"
    "dh debhelper the package itself"
)

# there COMMAND PACKAGE
there() {
    [[ $1 != - ]] && { have "$1"; return; }
    [[ $(dpkg-query -W -f '${Status}' "$2" 2>/dev/null) == *" installed" ]]
}

missing=()
for need in "${needs[@]}"; do
    read -r command package what <<<"$need"
    there "$command" "$package" && continue
    if is_root && have apt-get && install "$package" && hash -r && there "$command" "$package"
    then
        continue
    fi
    missing+=("$command (package $package): $what")
done
for component in fmt clippy; do
    "$CARGO" "$component" --version >/dev/null 2>&1 ||
        missing+=("cargo $component (rustup component add ${component/fmt/rustfmt}): style checks")
done

# From PyPI, each version pinned, in a directory of its own.
schemathesis() {
    local venv="$target/schemathesis" pins=scripts/schemathesis.txt
    [[ -x $venv/bin/schemathesis ]] && cmp -s "$pins" "$venv/pins.txt" && return
    have python3 || return 1
    say "installing: schemathesis, into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv" >/dev/null && "$venv/bin/pip" install -q --no-deps -r "$pins" >&2 &&
        cp "$pins" "$venv/pins.txt"
}
mkdir -p "$target"
schemathesis || missing+=("schemathesis (PyPI): the OpenAPI document against real agents")

((${#missing[@]} == 0)) && exit 0
say "these are not installed, so what needs them is not run:"
for line in "${missing[@]}"; do say "SKIPPED: $line"; done
is_root || say "(as root, this script installs them)"
exit 1
