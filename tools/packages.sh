# packages.sh - sourced by demo and check: install the Debian or Ubuntu packages that are missing.

# need_packages PACKAGE...
need_packages() {
    missing=
    for package in "$@"; do
        if command -v dpkg-query >/dev/null 2>&1 &&
            dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed'; then
            continue
        fi
        missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        [ -n "${PANQ_HAVE_PACKAGES:-}" ] && return 0
        echo "This is not Debian or Ubuntu. Please install what provides:$missing" >&2
        echo "and run this again with PANQ_HAVE_PACKAGES=1 in the environment." >&2
        exit 1
    fi
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "Please install as root:$missing" >&2
            exit 1
        fi
        sudo=sudo
    fi
    echo "Installing:$missing"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            $missing >/dev/null || {
        echo "The installation of$missing failed." >&2
        exit 1
    }
}

BUILD_PACKAGES="gcc g++ make libc6-dev libsentencepiece-dev libpcre2-dev libutf8proc-dev
    libjansson-dev zlib1g-dev"
EVAL_PACKAGES="bubblewrap python3"
CHECK_PACKAGES="clang gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
REPORT_PACKAGES="chromium-headless-shell fonts-dejavu-core"
