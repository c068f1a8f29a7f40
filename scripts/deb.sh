#!/usr/bin/env bash
# Builds the package into target/deb, or into DEB_OUTPUT. DEB_PROFILE=dev packs a debug build, in
# seconds, for tests; DEB_PROGRAMS=DIRECTORY packs what is built there.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_build_tools
for need in "dpkg-buildpackage dpkg-dev" "dh debhelper"; do
    read -r command package <<<"$need"
    have "$command" && continue
    is_root && have apt-get && install "$package" ||
        die "$command is needed; install it with: sudo apt-get install $package"
done

# debhelper changes HOME and the directory of the build: cargo and its toolchain are named here.
CARGO=$(command -v "$CARGO")
export CARGO
export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"
DEB_OUTPUT="${DEB_OUTPUT:-$target/deb}"
mkdir -p "$DEB_OUTPUT"
DEB_OUTPUT=$(realpath "$DEB_OUTPUT")
export DEB_OUTPUT DEB_PROFILE="${DEB_PROFILE:-shipped}"
# One at a time: debhelper works in debian/.
exec 9>"$target/deb.lock"
flock 9
rm -f "$DEB_OUTPUT"/raftctl_*
name="$DEB_OUTPUT/raftctl_$(dpkg-parsechangelog -S Version)_$(dpkg --print-architecture)"
dpkg-buildpackage -us -uc -b \
    --buildinfo-file="$name.buildinfo" --buildinfo-option="-u$DEB_OUTPUT" \
    --changes-file="$name.changes" --changes-option="-u$DEB_OUTPUT"
echo "$name.deb"
