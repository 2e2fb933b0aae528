#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the extension for development:  tools/build_dev.sh [release|debug|asan|tsan|emulate|clang|aarch64]
#
# build/<preset>/python/octavo is the package as symlinks to python/octavo plus that build's own
# _core; put build/<preset>/python on PYTHONPATH. The release build is also copied into
# python/octavo, so that `PYTHONPATH=python python -c 'import octavo'` works.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
jobs=${OCTAVO_JOBS:-2}
python=${PYTHON:-python}
interpreter=$($python -c 'import sys; print(sys.executable)')
build=build/$preset
mkdir -p "$build"

# Two builds in one directory would corrupt each other.
exec 9>"$build/.lock"
flock 9

if [[ $preset == clang ]]; then
  export CC=${CC:-clang-19} CXX=${CXX:-clang++-19}
fi
if [[ $preset == aarch64 ]]; then  # the target's Python; pybind11's headers are the host's
  tools/aarch64/sysroot
  interpreter=$PWD/tools/aarch64/python
fi
log=$build/configure.log
if ! cmake --preset "$preset" \
  -DPython_EXECUTABLE="$interpreter" \
  -Dpybind11_DIR="$($python -m pybind11 --cmakedir)" >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
cmake --build --preset "$preset" -j "$jobs"
ninja -C "$build" -t cleandead >/dev/null  # objects of deleted sources would mislead the checks

package=$build/python/octavo
rm -rf "$build/python"
mkdir -p "$package" python/octavo
for source in python/octavo/*; do
  case $source in
    */_core.*.so | */__pycache__ | 'python/octavo/*') ;;
    *) ln -s "$PWD/$source" "$package/" ;;
  esac
done
cp "$build"/_core.*.so "$package/"
if [[ $preset == release ]]; then
  # Rename, never overwrite: a running interpreter may have the old file mapped.
  for so in "$build"/_core.*.so; do
    cp "$so" "python/octavo/.$(basename "$so").tmp"
    mv "python/octavo/.$(basename "$so").tmp" "python/octavo/$(basename "$so")"
  done
fi
echo "built $package"
