#!/bin/sh
# Makes the PTX of our kernels that machines without NVRTC, or with one that does not know their GPU, fall back to, with the
# nvcc of CUDA 13.0 (a developer's tool, no part of the build): sparse-kernels/make-ptx.sh [FOLDER]. Run it after every change to
# a kernel: a test compares the source's hash and, where nvcc is, the PTX.
set -eu
sources=$(dirname "$0")/src/main/resources/dev/espalier/kernels/cuda
out=${1:-$sources/ptx}
mkdir -p "$out"
out=$(CDPATH='' cd "$out" && pwd)
cd "$sources"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for file in *.cu; do
    name=${file%.cu}
    # As KernelFile.source() puts it together.
    { cat prelude.cuh && printf '#line 1 "%s"\n' "$file" && cat "$file"; } >"$work/$file"
    nvcc -std=c++17 -arch=compute_80 -ptx -o "$work/$name.ptx" "$work/$file"
    { printf '// of sha256 %s\n' "$(sha256sum <"$work/$file" | cut -d' ' -f1)" && grep -v '^//' "$work/$name.ptx"; } >"$out/$name.ptx"
done
