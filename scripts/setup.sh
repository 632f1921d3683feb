#!/usr/bin/env bash
# Set up what bucketfs needs on Debian or Ubuntu; quiet and quick when nothing is missing.
#
#   scripts/setup.sh        to run it:   fuse3, libfuse3-dev, pkg-config, a C compiler, Python headers; .venv with the package
#   scripts/setup.sh test   and test it: s3fs, attr, acl, rsync, git, sqlite3, curl, strace, Ceph's S3 server; test packages and the clouds' SDKs from PyPI
#   scripts/setup.sh dev    and check it: ruff, mypy as well
#
# PYTHON names another interpreter than the newest python3 (>= 3.11) on PATH.
set -eu
cd "$(dirname "$0")/.."
purpose=${1:-run}
venv=.venv

say() { printf 'bucketfs set-up: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Run a step that needs the network, up to three times.
try() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return 0
        say "attempt $attempt of 3 failed: $*"
        sleep $((attempt * 5))
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo > /dev/null; then sudo "$@"
    else fail "these need root, and there is no sudo: $*"
    fi
}

find_python() {
    local name
    for name in ${PYTHON:-} python3.14 python3.13 python3.12 python3.11 python3; do
        if command -v "$name" > /dev/null \
            && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# Print the Debian packages that bring what is missing; each is asked for by what it is needed for.
missing_packages() {
    local program package
    command -v fusermount3 > /dev/null || echo fuse3
    command -v pkg-config > /dev/null || echo pkg-config
    pkg-config --exists fuse3 2> /dev/null || echo libfuse3-dev
    command -v cc > /dev/null || command -v gcc > /dev/null || echo gcc libc6-dev
    [ -n "$python" ] || echo python3 python3-venv python3-dev
    [ -z "$python" ] || missing_python_packages
    [ "$purpose" != run ] || return 0
    while read -r program package; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" > /dev/null || echo "$package"
    done << LIST
s3fs s3fs
getfattr attr
getfacl acl
rsync rsync
git git
sqlite3 sqlite3
curl curl
strace strace
radosgw radosgw
ceph-mon ceph-mon
ceph-mgr ceph-mgr
ceph-osd ceph-osd
ceph ceph-common
LIST
}

# Headers and venv of a Python that Debian installed; one from elsewhere brings its own.
missing_python_packages() {
    local version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2> /dev/null || echo "python$version-venv"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' \
        || echo "python$version-dev"
}

install_packages() {
    local packages
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "${packages// /}" ] || return 0
    command -v apt-get > /dev/null || fail "install these by hand (no apt-get here): $packages"
    say "installing the system packages: $packages"
    as_root true
    try as_root apt-get -qq update || fail "apt-get update failed: is there a network?"
    # shellcheck disable=SC2086 # a list of names
    try as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        install $packages > /dev/null || fail "could not install: $packages"
}

# The environment is made anew where it is broken or of an older Python than wanted, and filled
# again when pyproject.toml changed or more is wanted than is there.
install_python_packages() {
    local wanted stamp extras
    case $purpose in
        run) extras='' ;;
        test) extras='[test]' ;;
        dev) extras='[test,dev]' ;;
    esac
    stamp=$venv/.bucketfs-$purpose
    wanted=$(sha256sum pyproject.toml | cut -d' ' -f1)
    if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
        say "making $venv with $("$python" --version)"
        rm -rf "$venv"
        "$python" -m venv "$venv" || fail "could not make $venv"
    fi
    [ "$(cat "$stamp" 2> /dev/null)" != "$wanted" ] || return 0
    say "installing bucketfs$extras into $venv"
    try "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".$extras" \
        || fail "pip could not install bucketfs$extras"
    printf '%s' "$wanted" > "$stamp"
}

case $purpose in
    run | test | dev) ;;
    *) fail "usage: scripts/setup.sh [test|dev]" ;;
esac
python=$(find_python || true)
install_packages
[ -n "$python" ] || python=$(find_python) || fail "Python 3.11 or newer is needed; set PYTHON to one"
install_python_packages
