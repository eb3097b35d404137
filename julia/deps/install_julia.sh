#!/usr/bin/env bash
# Prints, on standard output and as its only line there, the path of a Julia that works; progress goes to standard error.
#
# 1. The `julia` on PATH, if it is 1.5 or later.
# 2. Else Debian 11's Julia 1.5.3, unpacked from its packages into a folder of its own: nothing of the system is changed,
#    and it needs neither root nor anything but apt and dpkg. (Debian 12 has no Julia; Debian 11's, installed into
#    Debian 12, meets a libunwind with which it crashes on every exception. Hence the private copy of all its libraries.)
#
# The folder is $LIBIPC_JULIA_PREFIX if that is set. Else root uses /var/cache/libipc/julia-1.5.3, which every user can
# read (/root is closed to them, and tests run as an unprivileged user); others use what root installed there, or else
# ${XDG_CACHE_HOME:-$HOME/.cache}/libipc/julia-1.5.3. Delete it to be rid of it.
#
# A killed run leaves no half-installed Julia: the folder appears by one rename. Two runs at once wait for each other.
set -euo pipefail

version=1.5.3
shared=/var/cache/libipc/julia-$version

say() { printf 'install_julia: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

works() { # works COMMAND: it starts, and is new enough
    "$1" --startup-file=no --history-file=no -e 'exit(VERSION >= v"1.5" ? 0 : 1)' </dev/null >/dev/null 2>&1
}

found() { printf '%s\n' "$1"; exit 0; }

if onpath=$(type -P julia); then
    if works "$onpath"; then found "$onpath"; fi
    say "$onpath is older than 1.5, or does not start: it is not used"
fi

if [ -n "${LIBIPC_JULIA_PREFIX:-}" ]; then
    prefix=$LIBIPC_JULIA_PREFIX
elif [ "$(id -u)" = 0 ]; then
    prefix=$shared
else
    if [ -x "$shared/bin/julia" ] && works "$shared/bin/julia"; then found "$shared/bin/julia"; fi
    cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}
    case $cache in
        /.cache) die "HOME is not set: say where to install with LIBIPC_JULIA_PREFIX=/some/folder" ;;
    esac
    prefix=$cache/libipc/julia-$version
fi
case $prefix in
    /*) ;;
    *) prefix=$PWD/$prefix ;;
esac

umask 022
parent=$(dirname "$prefix")
mkdir -p "$parent" 2>/dev/null ||
    die "can't make $parent: name a folder that you can write to with LIBIPC_JULIA_PREFIX=/some/folder"
[ -w "$parent" ] || die "can't write to $parent: name another folder with LIBIPC_JULIA_PREFIX=/some/folder"

# The lock goes with this process, however it ends.
exec 9>"$prefix.lock"
if ! flock -n 9; then
    say "another run is installing into $prefix: waiting for it"
    flock 9
fi

if [ -x "$prefix/bin/julia" ]; then
    if works "$prefix/bin/julia"; then found "$prefix/bin/julia"; fi
    say "$prefix/bin/julia does not start: installing it anew"
elif [ -e "$prefix" ] && [ -n "$(ls -A "$prefix")" ]; then
    die "$prefix is there and is not a Julia of ours: delete it, or name another folder with LIBIPC_JULIA_PREFIX"
fi

for tool in apt-get dpkg; do
    type -P "$tool" >/dev/null ||
        die "no julia on PATH, and no $tool to fetch one: install Julia 1.5 or later, and put it on PATH"
done

# The mirror is the one this machine takes its own packages from.
# (Here and below, no pipeline ends early: with pipefail, a reader that leaves makes the writer's SIGPIPE an error.)
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk '!uri && $3 == "main" && $2 !~ /-|\// { uri = $1 } END { print uri }')
[ -n "$mirror" ] || die "apt names no Debian mirror (apt-get indextargets shows none with a component main):" \
    "install Julia 1.5 or later by hand, and put it on PATH"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || die "$keyring is missing, and without it the packages can't be checked: apt-get install" \
    "debian-archive-keyring, or install Julia 1.5 or later by hand"

work=$(mktemp -d "$prefix.new-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# What killed runs left: nobody but us is at work, for we hold the lock.
for litter in "$prefix".new-* "$prefix".old-*; do
    if [ -e "$litter" ] && [ "$litter" != "$work" ]; then rm -rf "$litter"; fi
done
chmod 755 "$work" # apt's own user must get in, and later everyone
mkdir -p "$work"/apt/{lists,cache/archives,etc} "$work/root"
: >"$work/apt/status" # an empty one: apt fetches all that Julia needs, also what this system has
echo "deb [signed-by=$keyring] $mirror bullseye main" >"$work/apt/sources.list"

apt() {
    apt-get -qq -y --no-install-recommends \
        -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=- \
        -o Dir::State="$work/apt" -o Dir::State::status="$work/apt/status" -o Dir::State::lists="$work/apt/lists" \
        -o Dir::Cache="$work/apt/cache" -o Acquire::Languages=none -o Acquire::Retries=3 \
        -o APT::Update::Post-Invoke-Success= -o DPkg::Pre-Install-Pkgs= "$@" </dev/null >"$work/apt/log" 2>&1 9>&- ||
        { sed 's/^/    /' "$work/apt/log" >&2; return 1; }
}

say "fetching Julia $version and its libraries from $mirror (77 MB) into $prefix"
apt update || die "the list of Debian 11's packages can't be fetched from $mirror"
apt --download-only install julia || die "Julia's packages can't be fetched from $mirror"

say "unpacking"
for deb in "$work"/apt/cache/archives/*.deb; do
    case ${deb##*/} in
        # The system's own do. A second libc beside the running one does not work, and programs of the system that
        # Julia starts must not meet an older C++ library than theirs.
        libc6_* | libstdc++6_* | libgcc-s1_* | gcc-10-base_* | libc-bin_* | perl-base_* | debconf_* | dpkg_* | tar_*) ;;
        *) dpkg -x "$deb" "$work/root" 9>&- ;;
    esac
done

# The libraries are found through LD_LIBRARY_PATH, for Julia and for the Julias it starts. Programs of the system that
# it starts inherit it too: one that minds is run as `setenv(command, delete!(copy(ENV), "LD_LIBRARY_PATH"))`.
mkdir -p "$work/root/bin.ours"
cat >"$work/root/bin.ours/julia" <<'WRAPPER'
#!/bin/sh
prefix=$(dirname "$(dirname "$(readlink -f "$0")")")
arch=$(cd "$prefix/usr/lib" && echo *-linux-gnu*)
LD_LIBRARY_PATH=$prefix/usr/lib/$arch:$prefix/lib/$arch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec "$prefix/usr/bin/julia" "$@"
WRAPPER
chmod 755 "$work/root/bin.ours/julia"
# Debian's packages bring a /bin too: ours is the only command there that is wanted.
rm -rf "$work/root/bin"
mv "$work/root/bin.ours" "$work/root/bin"
works "$work/root/bin/julia" || die "the Julia that was unpacked does not start: $("$work/root/bin/julia" -v 2>&1 || true)"

if [ -e "$prefix" ]; then mv "$prefix" "$prefix.old-$$"; fi
mv "$work/root" "$prefix"
rm -rf "$prefix.old-$$"
say "installed $("$prefix/bin/julia" -v)"
found "$prefix/bin/julia"
