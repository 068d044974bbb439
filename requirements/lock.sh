#!/bin/sh
# Resolves cpu.in and dev.in into complete pinned lists; $1 is uv. See README.md here.
set -eu
uv=$1
cd "$(dirname "$0")"
links=${PIP_FIND_LINKS:+--find-links $PIP_FIND_LINKS}
quiet="-q --no-annotate --no-header --no-emit-find-links --no-emit-index-url --python-version 3.11"
index=${TORCH_INDEX:+--extra-index-url $TORCH_INDEX}
# shellcheck disable=SC2086
"$uv" pip compile cpu.in --override overrides.txt $links $index $quiet -o cpu.txt
# shellcheck disable=SC2086
"$uv" pip compile dev.in -c cpu.txt $links $quiet -o dev.txt
