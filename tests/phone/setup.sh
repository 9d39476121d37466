#!/usr/bin/env bash
# Builds the emulated phone of the tests: an aarch64 TVM RPC server and the libraries it runs on.
#
#   bash tests/phone/setup.sh [--install] [FOLDER]
#
# FOLDER is $TVM_C4N_PHONE_DIR or build/phone by default; PYTHON names the interpreter that has apache-tvm (python3).
# With --install missing Debian packages are installed (as root). Otherwise they are named, with exit status 3.
# Safe to run again, and by several processes at once: it redoes only what is older than its sources.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
install=no
[ "${1:-}" = --install ] && install=yes && shift
folder=${1:-${TVM_C4N_PHONE_DIR:-$here/../../build/phone}}
python=${PYTHON:-python3}
sysroot=/usr/aarch64-linux-gnu

# 1. Tools.
missing=()
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
[ -e $sysroot/include/stdio.h ] || missing+=(libc6-dev-arm64-cross)
[ -e $sysroot/lib/libstdc++.so.6 ] || missing+=(libstdc++6-arm64-cross)
if [ ${#missing[@]} -gt 0 ]; then
  line="apt-get install -y --no-install-recommends ${missing[*]}"
  if [ $install = no ] || [ "$(id -u)" != 0 ]; then
    echo "the emulated phone needs Debian packages: $line" >&2
    exit 3
  fi
  apt-get update -q >&2
  $line >&2
fi

mkdir -p "$folder/bin"
folder=$(cd "$folder" && pwd)
exec 9>"$folder/lock"
flock 9

# 2. The runtime libraries, from the aarch64 wheels of the versions that are installed here.
versions=$("$python" -c 'from importlib.metadata import version as v; print(v("apache-tvm"), v("apache-tvm-ffi"))')
read -r tvm ffi <<<"$versions"
if [ "$(cat "$folder/versions" 2>/dev/null)" != "$versions" ]; then
  (cd "$here/../.." && "$python" - "$folder/bin") <<'PY'
import pathlib, sys
from tvm_c4n.compile.native import RUNTIME, fetch_runtime

fetch_runtime(pathlib.Path(sys.argv[1]), (*RUNTIME, "libtvm_runtime_extra.so"))
PY
  rm -f "$folder/bin/rpc_phone"
  echo "$versions" >"$folder/versions"
fi

# 3. The server.
server=$folder/bin/rpc_phone
if [ ! -e "$server" ] || [ "$here/rpc_phone.c" -nt "$server" ] || [ "$here/setup.sh" -nt "$server" ]; then
  include=$("$python" -c 'import importlib.util as u, pathlib
print(pathlib.Path(u.find_spec("tvm_ffi").origin).parent / "include")')
  rm -f "$folder"/bin/lib{c,m}.so # the linker must not take these
  aarch64-linux-gnu-gcc -O2 -Wall -Wno-unused-parameter -I"$include" "$here/rpc_phone.c" -o "$server" \
    -L"$folder/bin" -Wl,--no-as-needed -ltvm_runtime_extra -ltvm_runtime -ltvm_ffi -Wl,--as-needed \
    -Wl,--disable-new-dtags,-rpath,'$ORIGIN' -Wl,--allow-shlib-undefined
fi
# A library for Android asks for libc.so and libm.so: on this phone glibc answers to these names.
ln -sfn $sysroot/lib/libc.so.6 "$folder/bin/libc.so"
ln -sfn $sysroot/lib/libm.so.6 "$folder/bin/libm.so"

# 4. It starts.
said=$(qemu-aarch64 -L $sysroot "$server" 2>&1 || true)
case $said in "usage: rpc_phone"*) echo "the emulated phone is ready in $folder (apache-tvm $tvm)" ;;
  *) echo "the emulated phone does not start: $said" >&2; exit 1 ;; esac
