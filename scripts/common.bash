# What the scripts share. Each sources it.

say() { printf 'scripts/%s: %s\n' "${0##*/}" "$*" >&2; }
fail() {
    say "$@"
    exit 1
}

# Runs a command that installs something.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "installing takes root, and there is no sudo. As root, run: $*"
    fi
}

# Debian packages, where they are not there yet.
install() {
    command -v apt-get >/dev/null || return 1
    dpkg -s "$@" >/dev/null 2>&1 && return
    as_root apt-get update -qq >/dev/null && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}
