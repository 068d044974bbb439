#!/bin/sh
# Resolves cpu.in and dev.in into complete pinned lists; $1 is uv. See README.md here.
set -eu
uv=$1
cd "$(dirname "$0")"
links=${PIP_FIND_LINKS:+--find-links $PIP_FIND_LINKS}
quiet="-q --no-annotate --no-header --no-emit-find-links --no-emit-index-url --python-version 3.11"
index=${TORCH_INDEX:+--extra-index-url $TORCH_INDEX}
hashes=--generate-hashes
all=$(mktemp)
# shellcheck disable=SC2086
"$uv" pip compile cpu.in --override overrides.txt $links $index $quiet -o "$all"
{ grep '^#' torch.txt; grep '^torch==' "$all"; } >torch.new && mv torch.new torch.txt
grep -v '^torch==' "$all" >listed.new
# shellcheck disable=SC2086
"$uv" pip compile listed.new --no-deps $links $hashes $quiet -o cpu.txt
# shellcheck disable=SC2086
"$uv" pip compile dev.in -c "$all" $links $hashes $quiet -o dev.txt
rm -f listed.new "$all"
