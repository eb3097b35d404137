#!/usr/bin/env bash
# Installs those of the named Debian packages that are missing, and says so; is silent when all are there.
#   install_packages.sh PACKAGE...
# Two at once wait for each other.
set -euo pipefail

if ! type -P apt-get dpkg-query >/dev/null; then
    echo "There is no apt-get here. You need what these Debian packages hold: $*"
    exit 0
fi

find_missing() {
    missing=()
    for package in "$@"; do
        # shellcheck disable=SC2016 # the ${} is dpkg-query's
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] ||
            missing+=("$package")
    done
}

find_missing "$@"
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo)
    if ! type -P sudo >/dev/null; then
        echo "These packages are missing, and there is no sudo. As root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
fi

exec 9</var/lib/dpkg
flock -n 9 || { echo "Another run is installing packages: waiting for it."; flock 9; }
find_missing "$@"
[ ${#missing[@]} -gt 0 ] || exit 0

echo "Installing by ${as_root[*]:+${as_root[*]} }apt-get: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 "$@" \
        </dev/null >"$log" 2>&1 9<&- || { cat "$log" >&2; echo "apt-get $1 failed: its words are above." >&2; exit 1; }
}
apt update
apt install --no-install-recommends "${missing[@]}"
