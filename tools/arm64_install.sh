#!/usr/bin/env bash
# Installs a wheel on an emulated arm64 Linux and runs a bundled model there: the text must be that of this machine.
#
#   bash tools/arm64_install.sh [WHEEL] [FOLDER]
#
# WHEEL is the one in dist/, FOLDER build/arm64. Needs root (debootstrap), qemu-user and lld; PYTHON names an interpreter
# of this machine that has this package (python3). The model is compiled here and run there: with COMPILE=there LLVM is
# emulated, too, which takes half an hour. qemu says nothing about speed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wheel=${1:-$(echo "$here"/dist/*.whl)}
folder=${2:-$here/build/arm64}
python=${PYTHON:-python3}
model=mamba-19m-n2-int4
options=(-p "The old bridge over the river was" -n 24 --quiet)

# 1. Debian 13 with Python 3.13: unpacked, not configured; nothing of it runs outside the emulator.
if [ ! -x "$folder/usr/bin/python3.13" ]; then
  debootstrap --foreign --arch=arm64 --variant=minbase --include=python3 trixie "$folder"
  for package in "$folder"/var/cache/apt/archives/*.deb; do dpkg -x "$package" "$folder"; done
fi

# qemu before version 8 shows this machine's: what the emulated processor has.
mkdir -p "$folder/proc"
printf 'processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\n' >"$folder/proc/cpuinfo"

# 2. The wheel and what it needs, all as wheels for arm64.
rm -rf "$folder/site"
platforms=(--platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64)
"$python" -m pip install --quiet --target "$folder/site" "${platforms[@]}" --python-version 3.13 \
  --only-binary=:all: "$wheel"

# 3. Its command line: of this machine's programs it sees a linker only, which links for any.
mkdir -p "$folder/linker"
ln -sfn "$(command -v ld.lld)" "$folder/linker/ld.lld"
emulator=$(command -v qemu-aarch64)
emulated() {
  env -i PATH="$folder/linker" HOME="$folder" XDG_CACHE_HOME="$folder/cache" PYTHONHOME="$folder/usr" \
    PYTHONPATH="$folder/site" "$emulator" -cpu max -L "$folder" "$folder/usr/bin/python3.13" -m tvm_c4n.cli.app "$@"
}
expected=$("$python" -m tvm_c4n.cli.app run $model "${options[@]}")
if [ "${COMPILE:-here}" = there ]; then
  found=$(emulated run $model "${options[@]}")
else
  "$python" -m tvm_c4n.cli.app compile $model --target arm64-linux -o "$folder/$model" --overwrite
  found=$(emulated run "$folder/$model" "${options[@]}")
fi
[ "$found" = "$expected" ] || { echo "arm64 wrote '$found', this machine '$expected'" >&2; exit 1; }
echo "arm64: the same text: $found"
